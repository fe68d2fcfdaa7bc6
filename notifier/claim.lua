-- Claims the sending of one event's notification for a limited time.
-- What has failed stays failed until it is sent: a claim whose caller has given up may arrive after the message
-- was dead-lettered, and would never be concluded.
-- A letter whose answer is unknown keeps others away until its time is over; then one more may go, and no third.
-- A customer who was erased is told of no order any more: it counts as sent, and its message goes. So does that of a
-- step whose customer has heard of a later one of the same order; while a later one is under way, its record stays.
-- Of a replay goes only what is listed as untold, or has failed: who was told long ago, when the claim has expired or
-- the record has left, is not told again.
-- A customer who wants no mail is not told: the owner then concludes it so. A claim that is renewed is judged anew,
-- which its owner heeds as long as no letter is under way.
-- A refusal that came after the event had been parked is handed to the next claim, in place of a lease.
--
-- KEYS  1 notif:{event id}  2 notifications:{order id}  3 notifications.counts  4 notifications.untold
--       5 order:{order id}  6 declined:mail
-- ARGV  1 owner  2 lease, milliseconds  3 event id  4 channel  5 retention, seconds
--       6 1 for a replay, else 0
-- Returns {'claimed', attempts, letters whose answer is unknown}, {'declined'} where it was claimed for a customer
--       who wants no mail, {'sent'}, {'exhausted'} where the last letter's
-- time is over, {'refused', 'later' or 'for good', error}, or {'held', milliseconds of the other's lease}.

local claim, record, counts = KEYS[1], KEYS[2], KEYS[3]
local mine = 'sending:' .. ARGV[1]
local held = redis.call('GET', claim)
if held == 'sent' or held == 'sent:unconfirmed' or held == 'declined' or held == 'erased' or held == 'overtaken' then
  return {'sent'}
end
local letters, till, holder = string.match(held or '', '^unconfirmed:(%d):(%d+):(.*)$')
if held and not letters and held ~= mine then
  return {'held', math.max(redis.call('PTTL', claim), 1)}
end
local now = time_now()
if letters and holder ~= ARGV[1] then
  if tonumber(till) > tonumber(now) then
    return {'held', math.ceil((tonumber(till) - tonumber(now)) / 1000)}
  end
  if letters == '2' then return {'exhausted'} end
end

local known = redis.call('HMGET', record, 'event_id', 'status', 'refused', 'last_error', 'collected', 'attempts',
  'told')
redis.call('HLEN', counts)
local is_untold = redis.call('ZSCORE', KEYS[4], ARGV[3])
local customer = redis.call('TYPE', KEYS[5])['ok'] == 'hash' and redis.call('HGET', KEYS[5], 'customer')
local is_declined = customer and redis.call('ZSCORE', KEYS[6], customer)
if ARGV[6] == '1' and not is_untold and not (known[1] == ARGV[3] and known[2] == 'failed') then return {'sent'} end
if known[1] == ARGV[3] and known[3] then
  redis.call('HDEL', record, 'refused')
  return {'refused', known[3], known[4] or ''}
end
local renewed = held == mine or holder == ARGV[1]
local is_same = known[1] == ARGV[3]
local is_behind = known[1] and place_of(known[1]) > place_of(ARGV[3])
if (is_behind and known[2] == 'sent') or place_of(known[7] or '') > place_of(ARGV[3]) then
  redis.call('ZREM', KEYS[4], ARGV[3])
  redis.call('SET', claim, 'overtaken', 'EX', ARGV[5])
  return {'sent'}
end
local attempts = (is_same and tonumber(known[6] or 0) or 0) + (renewed and 0 or 1)
if letters then
  local ends = math.max(tonumber(now) + ARGV[2] * 1000, renewed and tonumber(till) or 0)
  redis.call('SET', claim, string.format('unconfirmed:%s:%.0f:%s', letters, ends, ARGV[1]), 'EX', ARGV[5])
else
  redis.call('SET', claim, mine, 'PX', ARGV[2])
end
local answer = is_declined and {'declined'} or {'claimed', attempts, tonumber(letters or 0)}
if is_behind then return answer end
if known[2] and not is_same then
  redis.call('DEL', record)
  if known[7] then redis.call('HSET', record, 'told', known[7]) end
end
if known[5] then redis.call('HDEL', record, 'collected') end
local status = is_same and known[2] == 'failed' and 'failed' or 'sending'
redis.call('HSET', record, 'event_id', ARGV[3], 'status', status, 'channel', ARGV[4], 'attempts', attempts)
if not is_declined then redis.call('HSET', record, 'sending_at', now) end
redis.call('EXPIRE', record, ARGV[5])
if known[2] ~= status then
  if known[2] then redis.call('HINCRBY', counts, known[2], -1) end
  redis.call('HINCRBY', counts, status, 1)
end
return answer
