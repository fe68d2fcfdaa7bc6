-- Decides an order once: takes all of its stock or none, or rejects it for a reason that is given. Asked again, it
-- returns the stored decision. A message that asks for something else than the order that was accepted under its id
-- decides nothing: the books are kept by what the record says.
--
-- The first write is one MSET: stock, the count of decisions, and the whole decision under decision:{id}. Whatever
-- cuts the script after that, a caller who finds this key finishes what it says; it goes last.
--
-- KEYS  1 order:{id}  2 decision:{id}  3 orders.processed.count  4 stock.reserved  5 stock.skus  6 orders:created
--       7 orders:rejected  8 orders:accepted  9 orders:retrying  10 orders:dead  11 notifications.untold
--       12 orders:customer:{id}, without a customer order:{id}  13 stock.changed  14 orders:log  15 payments:due
--       16… inventory:{sku}
-- ARGV  1 order id  2 placed at, microseconds  3 oldest age that may be recreated, microseconds
--       4 order, JSON  5 content fingerprint  6 correlation id  7 traceparent  8 reason to reject it for ('' to decide)
--       9 prices and  10 customer ('' without) as the message has them, for a record that is recreated
--       11 who decides  12 where a payment stands at first ('' where none is asked for)  13… sku, qty for each item
-- Returns {outcome, decided at, reason, sku at fault, prices of the record}, {CANCELLED}, {'order_unknown'},
--         {'other_content'} or {'broken_stock', key}.

local record, pending, count, reserved, skus, untold = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[11]
local own, changed, log, payments = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local order_id, first_item, first_stock = ARGV[1], 13, 16
local items = (#ARGV - first_item + 1) / 2

local known = redis.call('HMGET', record, 'status', 'decided_at', 'reason', 'sku_at_fault', 'accepted_at',
  'fingerprint', 'timeline', 'trouble', 'prices', 'payment')
if known[6] and known[6] ~= ARGV[5] then return {'other_content'} end
if known[1] == CANCELLED and not known[2] then return {CANCELLED} end
local status, decided_at, accepted_at = known[1], known[2], known[5] or ARGV[2]
local trouble, prices = trouble_of(status, known[8]), known[9] or (status and '' or ARGV[9])
local begun = redis.call('GET', pending)
if decided_at and not begun then
  local outcome = status == REJECTED and REJECTED or CREATED
  local index = status == outcome and (outcome == REJECTED and KEYS[7] or KEYS[6])
  if not index or redis.call('ZSCORE', index, order_id) then
    return {outcome, decided_at, known[3] or '', known[4] or '', prices}
  end
end

-- Every look stands before the first write, because Redis does not roll a script back.
local now, outcome, reason, at_fault, number = time_now(), CREATED, ARGV[8], '', nil
local writes, sums, unlisted, ordered, asked = {}, {}, {}, {}, ARGV[12]
if begun then
  local content
  now, outcome, reason, at_fault, number, content, asked =
    string.match(begun, '^(%d+)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(%d+)\t([^\t]*)\t?(.*)$')
  if not now then return {'broken_stock', pending} end
  if content ~= ARGV[5] then return {'other_content'} end
elseif decided_at then
  now, outcome = decided_at, status
elseif not status and tonumber(now) - tonumber(ARGV[2]) > tonumber(ARGV[3]) then
  return {'order_unknown'}
end
local is_new = not begun and not decided_at
-- What has no total, or one of nothing, is not to be paid for.
local payment = known[10]
if not decided_at and outcome == CREATED and tonumber(string.match(prices, '^%u+\t(%d+)') or '0') > 0 then
  payment = asked ~= '' and asked
end
local is_owned = ARGV[10] ~= '' and (not status or begun)  -- what recreated it may have been cut
if is_owned then redis.call('ZSCORE', own, order_id) end
for i = 1, items do
  local stock, sku = KEYS[first_stock + i - 1], ARGV[first_item + 2 * (i - 1)]
  local qty = tonumber(ARGV[first_item + 2 * (i - 1) + 1])
  local taken = redis.call('HGET', reserved, sku) or '0'
  if not is_integer(taken) then return {'broken_stock', sku} end
  ordered[i] = sku
  sums[#sums + 1], sums[#sums + 2] = sku, string.format('%.0f', tonumber(taken) + qty)
  if redis.call('SISMEMBER', skus, sku) == 0 then unlisted[#unlisted + 1] = sku end
  if is_new and ARGV[8] == '' then
    local kind = redis.call('TYPE', stock)['ok']
    if kind ~= 'none' and kind ~= 'string' then return {'broken_stock', sku} end
    local available = kind == 'string' and redis.call('GET', stock) or nil
    if available and not is_integer(available) then return {'broken_stock', sku} end
    if not available then
      if reason ~= 'unknown_sku' then reason, at_fault = 'unknown_sku', sku end
    elseif tonumber(available) < qty and reason == '' then
      reason, at_fault = 'insufficient_stock', sku
    end
    if available then
      writes[#writes + 1], writes[#writes + 2] = stock, string.format('%.0f', tonumber(available) - qty)
    end
  end
end
local decided = redis.call('GET', count) or '0'
if not is_integer(decided) then return {'broken_stock', count} end
if is_new and reason ~= '' then outcome, writes = REJECTED, {} end
local index = outcome == REJECTED and KEYS[7] or KEYS[6]
redis.call('ZSCORE', index, order_id)
redis.call('ZCARD', untold)
redis.call('SCARD', changed)
redis.call('XLEN', log)
if payment then redis.call('ZCARD', payments) end
local stands = {}
for i = 8, is_new and not trouble and 8 or 10 do stands[i] = redis.call('ZSCORE', KEYS[i], order_id) end
local is_counted = begun and redis.call('HEXISTS', reserved, pending) == 1

if is_new then
  number = string.format('%.0f', tonumber(decided) + 1)
  local decision = now .. '\t' .. outcome .. '\t' .. reason .. '\t' .. at_fault .. '\t' .. number .. '\t' .. ARGV[5]
  if payment then decision = decision .. '\t' .. payment end
  writes[#writes + 1], writes[#writes + 2] = count, number
  writes[#writes + 1], writes[#writes + 2] = pending, decision
  redis.call('MSET', unpack(writes))
end
local timeline, first = known[7] or '', 0
if not decided_at then
  first = steps_in(timeline)
  if outcome == CREATED then
    if not is_counted then redis.call('HSET', reserved, pending, number, unpack(sums)) end
    redis.call('SADD', changed, unpack(ordered))
    if #unlisted > 0 then redis.call('SADD', skus, unpack(unlisted)) end
  end
  local fields = {}
  if not status then
    fields = {'id', order_id, 'order', ARGV[4], 'fingerprint', ARGV[5], 'accepted_at', accepted_at,
      'correlation_id', ARGV[6], 'traceparent', ARGV[7], 'idempotency_key', ''}
    if prices ~= '' then fields[#fields + 1], fields[#fields + 2] = 'prices', prices end
    if ARGV[10] ~= '' then fields[#fields + 1], fields[#fields + 2] = 'customer', ARGV[10] end
    timeline = with_step('', accepted_at, ACCEPTED, '', '', ARGV[10])
    timeline = with_step(timeline, now, 'recreated', 'record_missing', '', ARGV[11])
  end
  timeline = with_step(timeline, now, outcome, reason, '', ARGV[11])
  if payment and outcome == CREATED then
    timeline = with_step(timeline, now, 'payment_' .. payment, '', '', ARGV[11])
    fields[#fields + 1], fields[#fields + 2] = 'payment', payment
  end
  redis.call('HSET', record, 'status', outcome, 'decided_at', now, 'reason', reason, 'sku_at_fault', at_fault,
    'sequence', number, 'timeline', timeline, unpack(fields))
end
if is_new or begun then enter(log, order_id, timeline, first) end
if outcome == CREATED and not (decided_at and not begun) then redis.call('HDEL', reserved, pending) end
if trouble then redis.call('HDEL', record, 'trouble', 'next_attempt_at', 'attempts', 'noted') end
for i = 8, 10 do
  if stands[i] then redis.call('ZREM', KEYS[i], order_id) end
end
if payment and outcome == CREATED and (is_new or begun) then redis.call('ZADD', payments, now, order_id) end
if is_new or begun then redis.call('ZADD', untold, now, order_id .. ':' .. EVENT_TYPES[outcome]) end
if is_owned then redis.call('ZADD', own, accepted_at, order_id) end
redis.call('ZADD', index, accepted_at, order_id)
if is_new or begun then redis.call('DEL', pending) end
return {outcome, now, reason, at_fault, prices}
