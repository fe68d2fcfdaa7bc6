-- Sets or changes what is available of a SKU, and books the difference as supplied.
-- So available + reserved - supplied stays 0 per SKU, unless somebody edits the stock by hand.
--
-- KEYS  1 inventory:{sku}  2 stock.skus  3 stock.supplied
-- ARGV  1 sku  2 set or adjust  3 pieces  4 the most that may be available
-- Returns {'done', available}, {'unknown'}, {'negative'}, {'too_much'}, {'broken', key}.

local stock, skus, supplied = KEYS[1], KEYS[2], KEYS[3]
local sku, pieces = ARGV[1], tonumber(ARGV[3])

-- What INCRBY takes and Lua counts exactly; it refuses '007' and '-0'.
local function is_integer(value)
  return value == '0' or (#value <= 15 and string.match(value, '^-?[1-9]%d*$'))
end

-- Every check stands before the first write, because Redis does not roll a script back.
local kind = redis.call('TYPE', stock)['ok']
local available = kind == 'string' and redis.call('GET', stock) or nil
local is_broken = kind ~= 'none' and not (available and is_integer(available))
local before = not is_broken and tonumber(available or 0) or 0

local after = pieces
if ARGV[2] == 'adjust' then
  if kind == 'none' then return {'unknown'} end
  if is_broken then return {'broken', stock} end
  after = before + pieces
  if after < 0 then return {'negative'} end
  if after > tonumber(ARGV[4]) then return {'too_much'} end
end

for key, wanted in pairs({[skus] = 'set', [supplied] = 'hash'}) do
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= wanted then return {'broken', key} end
end
local booked = redis.call('HGET', supplied, sku)
if booked and not is_integer(booked) then return {'broken', supplied} end

local result = string.format('%.0f', after)
redis.call('SET', stock, result)
redis.call('SADD', skus, sku)
redis.call('HINCRBY', supplied, sku, string.format('%.0f', after - before))
return {'done', result}
