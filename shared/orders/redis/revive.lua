-- A dead order whose message went back to its consumer is retrying, unless something has happened to it since:
-- the consumer may have been quicker, and what it wrote stands.
--
-- KEYS  1 order:{id}  2 orders:retrying  3 orders:dead
-- ARGV  1 order id  2 length of the timeline before the message went back
-- Returns 1 if it is retrying now, 0 if it was left as it is.

local known = redis.call('HMGET', KEYS[1], 'status', 'accepted_at', 'timeline')
if known[1] ~= 'dead' or #(known[3] or '') ~= tonumber(ARGV[2]) then return 0 end
for i = 2, 3 do redis.call('ZSCORE', KEYS[i], ARGV[1]) end

local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'status', 'retrying', 'next_attempt_at', clock[1] .. string.format('%06d', clock[2]))
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[2], known[2], ARGV[1])
return 1
