-- Sets, changes or removes what is available of a SKU, and books the difference as supplied.
-- So available + reserved - supplied stays 0 per SKU, unless an operator edits the stock by hand.
--
-- KEYS  1 inventory:{sku}  2 stock.skus  3 stock.supplied  4 stock.index  5 stock.reserved  6 orders.archive
--       7 stock.changed
-- ARGV  1 sku  2 set, adjust or remove  3 pieces  4 the most that may be available  5 the most SKUs there may be
-- Returns {'done', available before, available now}, {'unknown'}, {'negative'}, {'too_much'}, {'too_many'},
--         {'held', pieces that orders hold}, {'broken', key}.

local stock, skus, supplied, index, reserved, archive = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local changed = KEYS[7]
local sku, action, pieces = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- What INCRBY takes and Lua counts exactly; it refuses '007' and '-0'.
local function is_integer(value)
  return value == '0' or (#value <= 15 and string.match(value, '^-?[1-9]%d*$'))
end

-- Every check stands before the first write, because Redis does not roll a script back.
local kind = redis.call('TYPE', stock)['ok']
local available = kind == 'string' and redis.call('GET', stock) or nil
local is_broken = kind ~= 'none' and not (available and is_integer(available))
local before = not is_broken and tonumber(available or 0) or 0

if kind == 'none' and action ~= 'set' then return {'unknown'} end
for key, wanted in pairs({[skus] = 'set', [supplied] = 'hash', [index] = 'zset', [reserved] = 'hash',
                          [archive] = 'hash', [changed] = 'set'}) do
  local found = redis.call('TYPE', key)['ok']
  if found ~= 'none' and found ~= wanted then return {'broken', key} end
end

local after = action == 'remove' and 0 or pieces
if action == 'adjust' then
  if is_broken then return {'broken', stock} end
  after = before + pieces
  if after < 0 then return {'negative'} end
  if after > tonumber(ARGV[4]) then return {'too_much'} end
elseif action == 'set' then
  if kind == 'none' and redis.call('ZCARD', index) >= tonumber(ARGV[5]) then return {'too_many'} end
end
local booked = redis.call('HGET', supplied, sku) or '0'
if not is_integer(booked) then return {'broken', supplied} end
if action == 'remove' then
  local taken, swept = redis.call('HGET', reserved, sku) or '0', redis.call('HGET', archive, 'sku:' .. sku) or '0'
  if not is_integer(taken) then return {'broken', reserved} end
  if not is_integer(swept) then return {'broken', archive} end
  if tonumber(taken) > tonumber(swept) then return {'held', string.format('%.0f', taken - swept)} end
end

if action == 'remove' then
  redis.call('DEL', stock)
  redis.call('SREM', skus, sku)
  redis.call('ZREM', index, sku)
else
  redis.call('SET', stock, string.format('%.0f', after))
  redis.call('SADD', skus, sku)
  redis.call('ZADD', index, 0, sku)
end
if tonumber(booked) + after - before == 0 then
  redis.call('HDEL', supplied, sku)
else
  redis.call('HINCRBY', supplied, sku, string.format('%.0f', after - before))
end
redis.call('SADD', changed, sku)
return {'done', string.format('%.0f', before), string.format('%.0f', after)}
