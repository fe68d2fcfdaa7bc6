-- Moves an order on, if the table of moves has it: its status, its place in the indexes, stock that is given back,
-- and the entry from which the move is announced, all or nothing. An order that has the status already is left alone.
--
-- The order counts as moved once it stands in the index of its status, which is written last. Stock is given back by
-- one MSET, with what is to be written under move:{id}: whatever cuts the script after that, who asks again
-- finishes it, and no other move is made before.
--
-- KEYS  1 order:{id}  2 move:{id}  3 decision:{id}  4 stock.reserved  5 stock.releases  6 outbox  7 moves
--       8 notifications.untold  9 orders:log  10 orders:retrying  11 orders:dead  12 stock.changed
--       13 orders:{its new status}  14 orders:due  15 orders:due:{customer}, without a customer order:{id}
--       16 payments:due
--       17… orders:{status} for each other status, in the order of the model, then inventory:{sku}
-- ARGV  1 order id  2 the new status  3 reason  4 who asks  5 version that was seen ('' for any)
--       6 Idempotency-Key, of who asks ('' without)  7 type of the event  8 '1' if the customer is told of it
--       9 how many other statuses there are  10 '1' if the order is a customer's
--       11 where the payment must stand for that, if there is one ('' anywhere)  12… sku, qty for each item
-- Returns {'moved'}, {'same'}, {'illegal', status}, {'unpaid', status, payment}, {'version', number}, {'key'}, {'unknown'}, {'deciding'},
--         {'releasing'} or {'broken_stock', sku}.

local record, pending, deciding, reserved, releases = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local outbox, moves, untold, log, changed, index = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[12], KEYS[13]
local order_id, to, key = ARGV[1], ARGV[2], ARGV[6] ~= '' and 'moved:' .. ARGV[4] .. ':' .. ARGV[6] or nil
local due, own_due, payments, is_owned = KEYS[14], KEYS[15], KEYS[16], ARGV[10] == '1'
local others, first_item, first_other = tonumber(ARGV[9]), 12, 17
local items, first_stock = (#ARGV - first_item + 1) / 2, first_other + others

local known = redis.call('HMGET', record, 'status', 'decided_at', 'accepted_at', 'timeline', 'trouble', key or 'id', 'payment')
if not known[1] or not tonumber(known[3]) then return {'unknown'} end
local trouble, timeline = trouble_of(known[1], known[5]), known[4] or ''
local status = trouble_of(known[1]) and ACCEPTED or known[1]
local begun, is_there = redis.call('GET', pending), status == to
local is_whole = is_there and not begun and redis.call('ZSCORE', index, order_id)
if key and known[6] and known[6] ~= to then return {'key'} end
if (is_whole and (not key or known[6])) or (key and known[6] and not is_there) then return {'same'} end
if begun and to ~= CANCELLED then return {'releasing'} end
if not is_there and not begun then
  if ARGV[5] ~= '' and tonumber(ARGV[5]) ~= steps_in(timeline) then return {'version', steps_in(timeline)} end
  if not (MOVES[status] and MOVES[status][to]) then return {'illegal', status} end
  if redis.call('EXISTS', deciding) == 1 then return {'deciding'} end
  if known[7] and ARGV[11] ~= '' and known[7] ~= ARGV[11] then return {'unpaid', status, known[7]} end
end

-- Every look stands before the first write, because Redis does not roll a script back.
local now, number, gives_back = time_now(), nil, to == CANCELLED and known[2]
local is_counted, sums, writes, released = false, {}, {}, {}
if begun then
  now, number = string.match(begun, '^(%d+)\t(%d+)$')
  if not now then return {'broken_stock', pending} end
  is_counted = redis.call('HEXISTS', reserved, pending) == 1
end
if gives_back and not (is_there and not begun) then
  for i = 1, items do
    local stock, sku = KEYS[first_stock + i - 1], ARGV[first_item + 2 * (i - 1)]
    local qty = tonumber(ARGV[first_item + 2 * (i - 1) + 1])
    local taken = redis.call('HGET', reserved, sku) or '0'
    if not is_integer(taken) then return {'broken_stock', sku} end
    released[i] = sku
    sums[#sums + 1], sums[#sums + 2] = sku, string.format('%.0f', tonumber(taken) - qty)
    local kind = redis.call('TYPE', stock)['ok']
    local available = kind == 'none' and '0' or kind == 'string' and redis.call('GET', stock)
    if not available or not is_integer(available) then return {'broken_stock', sku} end
    writes[#writes + 1], writes[#writes + 2] = stock, string.format('%.0f', tonumber(available) + qty)
  end
  local given_back = redis.call('GET', releases) or '0'
  if not is_integer(given_back) then return {'broken_stock', releases} end
  number = number or string.format('%.0f', tonumber(given_back) + 1)
end
redis.call('ZCARD', outbox)
redis.call('ZCARD', moves)
redis.call('ZCARD', untold)
redis.call('XLEN', log)
redis.call('SCARD', changed)
redis.call('ZCARD', payments)
for i = 10, 11 do redis.call('ZSCORE', KEYS[i], order_id) end
redis.call('ZSCORE', index, order_id)
local was_cut = status == ACCEPTED and redis.call('ZSCORE', due, order_id)  -- while it began
if is_owned then redis.call('SISMEMBER', own_due, order_id) end
for i = first_other, first_stock - 1 do redis.call('ZSCORE', KEYS[i], order_id) end

if is_whole then
  redis.call('HSET', record, key, to)
  return {'same'}
end
if gives_back and number and not begun then
  writes[#writes + 1], writes[#writes + 2] = releases, number
  writes[#writes + 1], writes[#writes + 2] = pending, now .. '\t' .. number
  redis.call('MSET', unpack(writes))
end
if gives_back and number and not is_counted and not is_there then
  redis.call('HSET', reserved, pending, number, unpack(sums))
end
if #released > 0 then redis.call('SADD', changed, unpack(released)) end
if not is_there then
  timeline = with_step(timeline, now, to, ARGV[3], '', ARGV[4])
  local fields = {'status', to, 'timeline', timeline, 'moved_at', now}
  if key then fields[#fields + 1], fields[#fields + 2] = key, to end
  if gives_back then fields[#fields + 1], fields[#fields + 2] = 'released', number end
  redis.call('HSET', record, unpack(fields))
end
if trouble then redis.call('HDEL', record, 'trouble', 'next_attempt_at', 'attempts', 'noted') end
enter(log, order_id, timeline, was_cut and 0 or steps_in(timeline) - 1)
if gives_back and number then redis.call('HDEL', reserved, pending) end
if to == CANCELLED then
  redis.call('ZREM', outbox, order_id)
  redis.call('ZREM', due, order_id)
  if known[7] then redis.call('ZADD', payments, now, order_id) end
  if is_owned then redis.call('SREM', own_due, order_id) end
end
redis.call('ZADD', moves, now, order_id .. ':' .. to)
if ARGV[8] == '1' then redis.call('ZADD', untold, now, order_id .. ':' .. ARGV[7]) end
for i = 10, 11 do redis.call('ZREM', KEYS[i], order_id) end
for i = first_other, first_stock - 1 do redis.call('ZREM', KEYS[i], order_id) end
redis.call('ZADD', index, known[3], order_id)
if begun or (gives_back and number) then redis.call('DEL', pending) end
return {'moved'}
