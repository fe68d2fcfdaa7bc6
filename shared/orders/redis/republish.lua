-- Puts an order back into the outbox whose message no queue holds any more, or its last move among those that are
-- announced from there. Deciding an order again changes nothing, and its event is announced once more: a customer
-- who was told is not told again.
--
-- KEYS  1 order:{id}  2 outbox  3 moves  4 notif:{event id} of its last step (only where there is one)
-- ARGV  1 order id  2 the status in which it was found  3 '1' if that is a move of which its customer is told
-- Returns 1 if it waits there now, 0 if it has moved on or its customer was told.

local known = redis.call('HMGET', KEYS[1], 'status', 'accepted_at', 'decided_at')
local status = trouble_of(known[1]) and ACCEPTED or known[1]
if status ~= ARGV[2] or not known[2] then return 0 end
if known[3] and not KEYS[4] then return 0 end
if KEYS[4] and string.sub(redis.call('GET', KEYS[4]) or '', 1, 4) == 'sent' then return 0 end
if ARGV[3] == '1' then
  redis.call('ZADD', KEYS[3], 'NX', time_now(), ARGV[1] .. ':' .. ARGV[2])
else
  redis.call('ZADD', KEYS[2], 'NX', known[2], ARGV[1])
end
return 1
