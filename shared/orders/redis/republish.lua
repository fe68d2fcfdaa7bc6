-- Puts an order back into the outbox whose message no queue holds any more; the relay publishes it from there.
-- Deciding an order again changes nothing, and its event is announced once more: a customer who was told is not
-- told again.
--
-- KEYS  1 order:{id}  2 outbox  3 notif:{event id} of its outcome (only where it is decided)
-- ARGV  1 order id  2 the status in which it was found
-- Returns 1 if it waits in the outbox now, 0 if it has moved on or its customer was told.

local known = redis.call('HMGET', KEYS[1], 'status', 'accepted_at', 'decided_at')
local status = trouble_of(known[1]) and ACCEPTED or known[1]
if status ~= ARGV[2] or not known[2] then return 0 end
if known[3] and (not KEYS[3] or string.sub(redis.call('GET', KEYS[3]) or '', 1, 4) == 'sent') then return 0 end
redis.call('ZADD', KEYS[2], 'NX', known[2], ARGV[1])
return 1
