-- Notes what is to be told of a SKU whose stock has changed: its stock at this instant. A change after it is told anew.
--
-- KEYS  1 stock.changed  2 stock.telling  3 inventory:{sku}
-- ARGV  1 sku
-- Returns 1 if something is to be told.

local changed, telling, stock = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
redis.call('HLEN', telling)
if redis.call('SISMEMBER', changed, ARGV[1]) == 0 then return 0 end
local available = redis.call('TYPE', stock)['ok'] == 'string' and redis.call('GET', stock) or ''

redis.call('HSET', telling, ARGV[1], time[1] .. string.format('%06d', time[2]) .. ' ' .. available)
redis.call('SREM', changed, ARGV[1])
return 1
