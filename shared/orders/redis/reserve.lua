-- Decides an order once: takes all of its stock or none. Running it again returns the stored decision.
-- A message that asks for something else than the order that was accepted under its id decides nothing: the books
-- are kept by what the record says.
--
-- KEYS  1 order:{id}  2 orders.processed.count  3 stock.reserved  4 stock.skus  5 orders:created
--       6 orders:rejected  7 orders:accepted  8 orders:retrying  9 orders:dead  10… inventory:{sku}
-- ARGV  1 order id  2 placed at, microseconds  3 oldest age that may be recreated, microseconds
--       4 order, JSON  5 content fingerprint  6 correlation id  7 traceparent
--       8… sku, qty for each item
-- Returns {status, decided at, reason, sku at fault}, {'order_unknown'}, {'other_content'} or {'broken_stock', sku}.

local record, count, reserved, skus = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local order_id = ARGV[1]
local first_item, first_stock = 8, 10

local known = redis.call('HMGET', record, 'status', 'decided_at', 'reason', 'sku_at_fault', 'accepted_at',
  'fingerprint')
if known[6] and known[6] ~= ARGV[5] then return {'other_content'} end
if known[1] == 'created' or known[1] == 'rejected' then
  return {known[1], known[2], known[3] or '', known[4] or ''}
end

local clock = redis.call('TIME')
local now = clock[1] .. string.format('%06d', clock[2])
if not known[1] and tonumber(now) - tonumber(ARGV[2]) > tonumber(ARGV[3]) then
  return {'order_unknown'}
end

-- What DECRBY and HINCRBY take and Lua counts exactly; they refuse '007' and '-0' in mid-script.
local function is_integer(value)
  return value == '0' or (#value <= 15 and string.match(value, '^-?[1-9]%d*$'))
end

-- Every check stands before the first write, because Redis does not roll a script back.
local reason, at_fault = nil, ''
local items = (#ARGV - first_item + 1) / 2
for i = 1, items do
  local stock, sku = KEYS[first_stock + i - 1], ARGV[first_item + 2 * (i - 1)]
  local qty = tonumber(ARGV[first_item + 2 * (i - 1) + 1])
  local kind = redis.call('TYPE', stock)['ok']
  if kind ~= 'none' and kind ~= 'string' then return {'broken_stock', sku} end
  local available = kind == 'string' and redis.call('GET', stock) or nil
  if available and not is_integer(available) then return {'broken_stock', sku} end
  local taken = redis.call('HGET', reserved, sku)
  if taken and not is_integer(taken) then return {'broken_stock', sku} end
  if not available then
    if reason ~= 'unknown_sku' then reason, at_fault = 'unknown_sku', sku end
  elseif tonumber(available) < qty and not reason then
    reason, at_fault = 'insufficient_stock', sku
  end
end
redis.call('SISMEMBER', skus, '')
for i = 5, 9 do redis.call('ZSCORE', KEYS[i], order_id) end
local decided = redis.call('GET', count)
if decided and not is_integer(decided) then return {'broken_stock', count} end

local status = reason and 'rejected' or 'created'
if not reason then
  for i = 1, items do
    local sku, qty = ARGV[first_item + 2 * (i - 1)], ARGV[first_item + 2 * (i - 1) + 1]
    redis.call('DECRBY', KEYS[first_stock + i - 1], qty)
    redis.call('HINCRBY', reserved, sku, qty)
    redis.call('SADD', skus, sku)
  end
end

local accepted_at = known[5] or ARGV[2]
local timeline = redis.call('HGET', record, 'timeline')
if not known[1] then
  redis.call('HSET', record, 'id', order_id, 'order', ARGV[4], 'fingerprint', ARGV[5], 'accepted_at', accepted_at,
    'correlation_id', ARGV[6], 'traceparent', ARGV[7], 'idempotency_key', '')
  timeline = accepted_at .. '\taccepted\t\t\n' .. now .. '\trecreated\trecord_missing\t'
end
redis.call('HDEL', record, 'next_attempt_at', 'attempts', 'noted')
redis.call('HSET', record, 'status', status, 'decided_at', now, 'reason', reason or '', 'sku_at_fault', at_fault,
  'sequence', redis.call('INCR', count),
  'timeline', (timeline or '') .. '\n' .. now .. '\t' .. status .. '\t' .. (reason or '') .. '\t')
for i = 7, 9 do redis.call('ZREM', KEYS[i], order_id) end
redis.call('ZADD', reason and KEYS[6] or KEYS[5], accepted_at, order_id)
return {status, now, reason or '', at_fault}
