-- Claims the sending of one event's notification for a limited time.
-- What has failed stays failed until it is sent: a claim that nobody waits for any more may arrive
-- after the message was dead-lettered, and nobody would ever conclude it.
--
-- KEYS  1 notif:{event id}  2 notifications:{order id}  3 notifications.counts
-- ARGV  1 owner  2 lease, milliseconds  3 event id  4 channel  5 retention, seconds
-- Returns {'claimed', attempts}, {'sent'} or {'held', milliseconds that remain of the other's lease}.

local claim, record, counts = KEYS[1], KEYS[2], KEYS[3]
local mine = 'sending:' .. ARGV[1]
local held = redis.call('GET', claim)
if held == 'sent' then return {'sent'} end
if held and held ~= mine then
  return {'held', math.max(redis.call('PTTL', claim), 1)}
end

local known = redis.call('HMGET', record, 'event_id', 'status')
redis.call('HLEN', counts)
local clock = redis.call('TIME')
redis.call('SET', claim, mine, 'PX', ARGV[2])
if known[1] ~= ARGV[3] then redis.call('DEL', record) end
local attempts = redis.call('HINCRBY', record, 'attempts', held and 0 or 1)
local status = known[1] == ARGV[3] and known[2] == 'failed' and 'failed' or 'sending'
redis.call('HSET', record, 'event_id', ARGV[3], 'status', status, 'channel', ARGV[4],
  'sending_at', clock[1] .. string.format('%06d', clock[2]))
redis.call('EXPIRE', record, ARGV[5])
if known[2] then redis.call('HINCRBY', counts, known[2], -1) end
redis.call('HINCRBY', counts, status, 1)
return {'claimed', attempts}
