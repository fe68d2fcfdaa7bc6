-- Writes what a product costs to where orders are priced from, unless what stands there is newer.
-- A value of another writer, of any type, is overwritten; what is right already is left alone.
--
-- KEYS  1 product:{sku}
-- ARGV  1 version  2 '1' for a product that was deleted  3 unit amount  4 currency  5 name
-- Returns the newer version that stands there, '' where there is none.

local product, version = KEYS[1], ARGV[1]
local kind = redis.call('TYPE', product)['ok']
local found = kind == 'hash' and redis.call('HMGET', product, 'version', 'deleted', 'unit_amount', 'currency', 'name')
  or {}
local there = found[1] and #found[1] <= 15 and string.match(found[1], '^%d+$') and tonumber(found[1])

if there and there > tonumber(version) then return found[1] end
local is_right = there == tonumber(version)
if ARGV[2] == '1' then
  is_right = is_right and found[2] == '1' and not (found[3] or found[4] or found[5])
else
  is_right = is_right and not found[2] and found[3] == ARGV[3] and found[4] == ARGV[4] and found[5] == ARGV[5]
end
if is_right then return '' end

redis.call('DEL', product)
if ARGV[2] == '1' then
  redis.call('HSET', product, 'version', version, 'deleted', '1')
else
  redis.call('HSET', product, 'version', version, 'unit_amount', ARGV[3], 'currency', ARGV[4], 'name', ARGV[5])
end
return ''
