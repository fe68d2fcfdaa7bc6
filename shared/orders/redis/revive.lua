-- A dead order whose message went back to its consumer is retrying, unless something has happened to it since:
-- the consumer may have been quicker, and what it wrote stands. The record is written last, so that what was cut
-- is done again. It is no step; the last step comes into the log once more, for readers of records to look again.
--
-- KEYS  1 order:{id}  2 orders:accepted  3 orders:retrying  4 orders:dead  5 orders:log
-- ARGV  1 order id  2 length of the timeline before the message went back
-- Returns 1 if it is retrying now, 0 if it was left as it is.

local known = redis.call('HMGET', KEYS[1], 'status', 'accepted_at', 'timeline', 'decided_at', 'trouble')
if not known[1] or known[4] or trouble_of(known[1], known[5]) ~= DEAD then return 0 end
if #(known[3] or '') ~= tonumber(ARGV[2]) then return 0 end
for i = 2, 4 do redis.call('ZSCORE', KEYS[i], ARGV[1]) end
redis.call('XLEN', KEYS[5])

redis.call('ZADD', KEYS[2], known[2], ARGV[1])
redis.call('ZADD', KEYS[3], known[2], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('HSET', KEYS[1], 'status', ACCEPTED, 'trouble', RETRYING, 'next_attempt_at', time_now())
local timeline = known[3] or ''
enter(KEYS[5], ARGV[1], timeline, steps_in(timeline) - 1)
return 1
