-- Accepts an order: writes its record, puts it into the outbox and the index, and claims its id, all or nothing. One
-- that is to begin later stands among the scheduled instead, and is listed by that time: due.lua takes it from there.
-- An order counts as accepted once it stands in the index, which is written last. One that a cut left before that
-- was promised to no client; who asks for it again finishes it.
-- What its products cost is looked at last and once: a known order is never compared with today's prices.
--
-- KEYS  1 idemp:{id}  2 order:{id}  3 orders:accepted  4 outbox  5 idempkey:{customer}:{key}, without a key order:{id}
--       6 orders:customer:{id}, without a customer order:{id}
--       7 idempkey:{key}, as an older version named 5; with a customer order:{id}  8 orders:log
--       9 orders:scheduled  10 orders:due  11 orders:due:{customer}, without a customer order:{id}  12… product:{sku}
-- ARGV  1 token of this request  2 claim TTL, seconds  3 outbox bound  4 order id  5 order, JSON
--       6 content fingerprint  7 correlation id  8 traceparent  9 fingerprint for the key
--       10 media type of the answer  11 Idempotency-Key ('' without)  12 what stands before the id in a record's key
--       13 fingerprint of the whole request ('' where it is that of the content)
--       14 currency that the client expects  15 total that it expects ('' without)
--       16 '1' to refuse what has no product  17 customer ('' without)  18 when it begins, microseconds ('' for now)
--       19 most scheduled orders  20 most of one customer  21… qty for each item
-- Returns {'new', time, prices, when it begins}, {'replay', order id, media type, in outbox, prices, when it begins},
--         {'reused', order id}, {'duplicate', status, fingerprint, customer}, {'full'}, {'too_many', how many at most},
--         {'own_too_many', how many of one customer},
--         {'currencies', currency, …},
--         {'unknown_products', prices}, {'price_changed', prices} or {'broken_product', key}; time in microseconds
--         since the epoch, prices as text: shared/prices.py.

local claim, record, accepted, outbox, key, own = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local older, log, scheduled, due, own_due = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local token, order_id, customer, begins, first_product, first_qty = ARGV[1], ARGV[4], ARGV[17], ARGV[18], 12, 21
if ARGV[11] == '' then key = nil end
if customer == '' then own = nil end
if own or not key then older = nil end

-- When the order was accepted, if a cut kept it from the index; its prices, when it begins, and its timeline.
local function unfinished(of, id)
  local known = redis.call('HMGET', of, 'status', 'decided_at', 'trouble', 'accepted_at', 'prices', 'not_before',
    'timeline')
  local index = known[1] == SCHEDULED and scheduled or known[1] == ACCEPTED and accepted
  local is_waiting = index and not known[2] and not known[3]
  return is_waiting and not redis.call('ZSCORE', index, id) and known[4], known[5] or '', known[6] or '',
    known[7] or '', index == scheduled
end

-- The prices of today as text, their currency and their total ('' where an item has no price); or what is wrong.
local function priced()
  local lines, total, currencies, is_whole = {}, 0, {}, true
  for i = 1, #KEYS - first_product + 1 do
    local product = redis.call('HMGET', KEYS[first_product + i - 1], 'unit_amount', 'currency', 'name')
    local amount, currency = product[1], product[2]
    if amount or currency then
      if not (amount and is_integer(amount) and tonumber(amount) >= 0 and tonumber(amount) <= 1000000000
          and currency and string.match(currency, '^%u%u%u$')) then
        return nil, {'broken_product', KEYS[first_product + i - 1]}
      end
      if not currencies[currency] then
        currencies[#currencies + 1], currencies[currency] = currency, true
      end
      total = total + tonumber(amount) * tonumber(ARGV[first_qty + i - 1])
      lines[i] = '\n' .. amount .. '\t' .. string.sub(string.gsub(product[3] or '', '%c', ' '), 1, 800)
    else
      lines[i], is_whole = '\n', false
    end
  end
  if #currencies > 1 then return nil, {'currencies', unpack(currencies)} end
  if #currencies == 0 then return '', '', '' end
  total = is_whole and string.format('%.0f', total) or ''
  return currencies[1] .. '\t' .. total .. table.concat(lines), currencies[1], total
end

local claimed = redis.call('GET', claim)
if claimed == token then
  local mine = redis.call('HMGET', record, 'accepted_at', 'prices', 'not_before')
  return {'new', mine[1] or '', mine[2] or '', mine[3] or ''}
end
local now, is_later, timeline = time_now(), false, ''
redis.call('ZSCORE', accepted, order_id)
redis.call('ZSCORE', scheduled, order_id)
local waiting_for_time = redis.call('ZCARD', due)
local own_waiting = own and redis.call('SCARD', own_due) or 0
if own then redis.call('ZSCORE', own, order_id) end
local waiting = redis.call('ZCARD', outbox)
redis.call('XLEN', log)

local known, replayed = key and redis.call('HMGET', key, 'order_id', 'fingerprint', 'media_type') or {}, nil
local prices = ''
if older and not known[1] then
  local before = redis.call('HMGET', older, 'order_id', 'fingerprint', 'media_type')
  -- 'idempkey:-:k' may be the older name of the key '-:k', or today's of 'k': the record knows which was sent.
  local sent = before[1] and redis.call('HMGET', ARGV[12] .. before[1], 'idempotency_key')[1]
  if sent == ARGV[11] then known = before end
end
if known[1] then
  if known[2] ~= ARGV[9] then return {'reused', known[1]} end
  replayed, prices, begins, timeline, is_later = unfinished(ARGV[12] .. known[1], known[1])
  if not replayed then
    return {'replay', known[1], known[3], redis.call('ZSCORE', outbox, known[1]) and '1' or '0', prices, begins}
  end
end

local existing = not replayed and redis.call('HMGET', record, 'status', 'fingerprint', 'request', 'customer') or {}
local fingerprint, asked = existing[3] or existing[2] or '', ARGV[13] ~= '' and ARGV[13] or ARGV[6]
local began, owner = nil, existing[4] or ''
if existing[1] and owner == customer then
  began, prices, begins, timeline, is_later = unfinished(record, order_id)
end
if existing[1] and not began then
  return {'duplicate', trouble_of(existing[1]) and ACCEPTED or existing[1], fingerprint, owner}
end
if not began and not replayed then
  if claimed then return {'duplicate', '', '', ''} end
  is_later = begins ~= '' and tonumber(begins) > tonumber(now)
  if is_later then
    if waiting_for_time >= tonumber(ARGV[19]) then return {'too_many', ARGV[19]} end
    if own_waiting >= tonumber(ARGV[20]) then return {'own_too_many', ARGV[20]} end
  end
  if ARGV[3] == '0' or (not is_later and waiting >= tonumber(ARGV[3])) then return {'full'} end
  local currency, total
  prices, currency, total = priced()
  if not prices then return currency end
  if ARGV[16] == '1' and total == '' then return {'unknown_products', prices} end
  if (ARGV[14] ~= '' and ARGV[14] ~= currency) or (ARGV[15] ~= '' and ARGV[15] ~= total) then
    return {'price_changed', prices}
  end
end
if not began and not replayed then
  timeline = with_step('', now, is_later and SCHEDULED or ACCEPTED, '', '', customer)
  if not is_later then begins = '' end
end
local place = replayed or began or (is_later and begins or now)

-- From the first write on there is no look: the guard of the script asks for what follows alone.
if replayed then
  if own then redis.call('ZADD', own, place, known[1]) end
  if is_later and own then redis.call('SADD', own_due, known[1]) end
  redis.call('ZADD', is_later and due or outbox, place, known[1])
  enter(log, known[1], timeline, 0)
  redis.call('ZADD', is_later and scheduled or accepted, place, known[1])
  return {'replay', known[1], known[3], is_later and '0' or '1', prices, begins}
end
local is_same = not began or (existing[2] == ARGV[6] and fingerprint == asked)
if not began then
  local more = own and {'customer', customer} or {}
  if prices ~= '' then more[#more + 1], more[#more + 2] = 'prices', prices end
  if ARGV[13] ~= '' then more[#more + 1], more[#more + 2] = 'request', ARGV[13] end
  if is_later then more[#more + 1], more[#more + 2] = 'not_before', begins end
  redis.call('HSET', record,
    'id', order_id, 'status', is_later and SCHEDULED or ACCEPTED, 'order', ARGV[5], 'fingerprint', ARGV[6],
    'accepted_at', place,
    'correlation_id', ARGV[7], 'traceparent', ARGV[8], 'idempotency_key', ARGV[11],
    'timeline', timeline, unpack(more))
end
if key and is_same then
  redis.call('HSET', key, 'order_id', order_id, 'fingerprint', ARGV[9], 'media_type', ARGV[10])
end
if own then redis.call('ZADD', own, place, order_id) end
if is_later and own then redis.call('SADD', own_due, order_id) end
redis.call('ZADD', is_later and due or outbox, place, order_id)
redis.call('SET', claim, token, 'EX', ARGV[2])
enter(log, order_id, timeline, 0)
redis.call('ZADD', is_later and scheduled or accepted, place, order_id)
if not is_same then return {'duplicate', is_later and SCHEDULED or ACCEPTED, fingerprint, owner} end
return {'new', place, prices, begins}
