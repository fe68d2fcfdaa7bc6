-- Brings an order up to date that stands in an index of trouble and not among the accepted ones: an older version
-- wrote its trouble as its status, or it was decided and a cut kept it there.
--
-- KEYS  1 order:{id}  2 orders:accepted  3 orders:retrying  4 orders:dead
-- ARGV  1 order id
-- Returns 1 if something was changed, 0 if there is nothing that can be said.

local known = redis.call('HMGET', KEYS[1], 'status', 'accepted_at', 'decided_at', 'trouble')
local trouble = trouble_of(known[1], known[4])
for i = 2, 4 do redis.call('ZSCORE', KEYS[i], ARGV[1]) end

if known[3] then return redis.call('ZREM', KEYS[3], ARGV[1]) + redis.call('ZREM', KEYS[4], ARGV[1]) end
if not trouble then return 0 end
if known[1] ~= ACCEPTED then redis.call('HSET', KEYS[1], 'status', ACCEPTED, 'trouble', trouble) end
return redis.call('ZADD', KEYS[2], known[2], ARGV[1])
