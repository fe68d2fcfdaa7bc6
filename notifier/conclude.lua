-- Records how a sending ended. A notification that went out is 'sent' whoever holds the claim by now; who gives
-- back what is not theirs any more comes too late to say anything. Nobody ends another's claim, and a record that
-- is about another event by now is left alone. What has failed stays failed until it is sent: a claim and its end
-- may both arrive after the message was dead-lettered, and nobody would ever conclude it.
--
-- KEYS  1 notif:{event id}  2 notifications:{order id}  3 notifications.counts
-- ARGV  1 owner  2 event id  3 status: sent, failed, sending (the claim is given back), or untried (the same,
--       and the attempt does not count)  4 error  5 retention, seconds
-- Returns 1 if it was recorded, 0 if others know better.

local claim, record, counts = KEYS[1], KEYS[2], KEYS[3]
local status = ARGV[3]
local held = redis.call('GET', claim)
local ours = held == 'sending:' .. ARGV[1]
if held == 'sent' then return 0 end
if not ours and status ~= 'sent' and status ~= 'failed' then return 0 end

local known = redis.call('HMGET', record, 'event_id', 'status')
redis.call('HLEN', counts)
local clock = redis.call('TIME')
local now = clock[1] .. string.format('%06d', clock[2])
if status == 'untried' then
  if known[1] == ARGV[2] then redis.call('HINCRBY', record, 'attempts', -1) end
  status = 'sending'
end
if status == 'sent' or ours then redis.call('DEL', claim) end  -- first: a full store lets nothing else be first
if status == 'sent' then redis.call('SET', claim, 'sent', 'EX', ARGV[5]) end
if known[1] and known[1] ~= ARGV[2] then return 1 end
if status == 'sending' and known[2] == 'failed' then return 1 end
redis.call('HSET', record, 'event_id', ARGV[2], 'status', status)
if status == 'sent' then
  redis.call('HDEL', record, 'last_error')
  redis.call('HSET', record, 'sent_at', now)
else
  redis.call('HSET', record, 'last_error', ARGV[4])
  if status == 'failed' then redis.call('HSET', record, 'failed_at', now) end
end
redis.call('EXPIRE', record, ARGV[5])
if known[2] ~= status then
  if known[2] then redis.call('HINCRBY', counts, known[2], -1) end
  redis.call('HINCRBY', counts, status, 1)
end
return 1
