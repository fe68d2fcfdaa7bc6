-- Puts pieces into a cell's stock that another one has debited: in the order of their numbers, each once.
--
-- KEYS  1 inventory:{sku}  2 stock.supplied  3 escrow.taken  4 stock.changed
-- ARGV  1 from which cell  2 number  3 sku  4 qty
-- Returns the number up to which all were taken.

local taken = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0')
if tonumber(ARGV[2]) ~= taken + 1 then return taken end
redis.call('INCRBY', KEYS[1], ARGV[4])
redis.call('HINCRBY', KEYS[2], ARGV[3], ARGV[4])
redis.call('SADD', KEYS[4], ARGV[3])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
return tonumber(ARGV[2])
