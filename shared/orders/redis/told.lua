-- Takes an event off the list of those whose customer is yet to be told, if that is over: an older version that told
-- the customer or gave it up did not know the list, or the order's retention has ended.
--
-- KEYS  1 notifications.untold  2 notif:{event id}  3 notifications:{order id}  4 order:{id}
-- ARGV  1 event id
-- Returns 1 if it left the list, 0 if its customer still waits.

redis.call('ZCARD', KEYS[1])
local known = redis.call('HMGET', KEYS[3], 'event_id', 'status')
local is_over = string.sub(redis.call('GET', KEYS[2]) or '', 1, 4) == 'sent' or redis.call('EXISTS', KEYS[4]) == 0
if known[1] == ARGV[1] and known[2] == 'failed' then is_over = true end
return is_over and redis.call('ZREM', KEYS[1], ARGV[1]) or 0
