-- Takes pieces out of a cell's stock for another one: what is available, never what is reserved. They stand in
-- escrow under the next number of this pair of cells until the other cell has them.
--
-- KEYS  1 inventory:{sku}  2 stock.supplied  3 escrow.numbers  4 escrow:to:{cell}
-- ARGV  1 to which cell  2 sku  3 qty
-- Returns how many pieces were taken.

local available = tonumber(redis.call('GET', KEYS[1]) or '0')
local qty = math.min(tonumber(ARGV[3]), available)
if qty <= 0 then return 0 end
redis.call('DECRBY', KEYS[1], qty)
redis.call('HINCRBY', KEYS[2], ARGV[2], -qty)
local number = redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
redis.call('HSET', KEYS[4], number, ARGV[2] .. '\t' .. qty)
return qty
