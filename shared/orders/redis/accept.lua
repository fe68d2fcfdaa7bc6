-- Accepts an order: writes its record, puts it into the outbox and the index, and claims its id, all or nothing.
-- An order counts as accepted once it stands in the index, which is written last. One that a cut left before that
-- was promised to no client; who asks for it again finishes it.
--
-- KEYS  1 idemp:{id}  2 order:{id}  3 orders:accepted  4 outbox  5 idempkey:{key} (only with a key)
-- ARGV  1 token of this request  2 claim TTL, seconds  3 outbox bound  4 order id  5 order, JSON
--       6 content fingerprint  7 correlation id  8 traceparent  9 fingerprint for the key
--       10 media type of the answer  11 Idempotency-Key ('' without)  12 what stands before the id in a record's key
-- Returns {'new', time}, {'replay', order id, media type, in outbox}, {'reused', order id},
--         {'duplicate', status, fingerprint}, {'full'}; time in microseconds since the epoch.

local claim, record, accepted, outbox, key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, order_id = ARGV[1], ARGV[4]

-- When the order was accepted, if a cut kept it from the index.
local function unfinished(of, id)
  local known = redis.call('HMGET', of, 'status', 'decided_at', 'trouble', 'accepted_at')
  local is_waiting = known[1] == ACCEPTED and not known[2] and not known[3]
  return is_waiting and not redis.call('ZSCORE', accepted, id) and known[4]
end

local claimed = redis.call('GET', claim)
if claimed == token then
  return {'new', redis.call('HGET', record, 'accepted_at') or ''}
end
redis.call('ZSCORE', accepted, order_id)
local waiting = redis.call('ZCARD', outbox)

local known, replayed = key and redis.call('HMGET', key, 'order_id', 'fingerprint', 'media_type') or {}, nil
if known[1] then
  if known[2] ~= ARGV[9] then return {'reused', known[1]} end
  replayed = unfinished(ARGV[12] .. known[1], known[1])
  if not replayed then
    return {'replay', known[1], known[3], redis.call('ZSCORE', outbox, known[1]) and '1' or '0'}
  end
end

local existing = not replayed and redis.call('HMGET', record, 'status', 'fingerprint') or {}
local began = existing[1] and unfinished(record, order_id)
if existing[1] and not began then
  return {'duplicate', trouble_of(existing[1]) and ACCEPTED or existing[1], existing[2] or ''}
end
if not began and not replayed then
  if claimed then return {'duplicate', '', ''} end
  if waiting >= tonumber(ARGV[3]) then return {'full'} end
end
local now = replayed or began or time_now()

-- From the first write on there is no look: the guard of the script asks for what follows alone.
if replayed then
  redis.call('ZADD', outbox, replayed, known[1])
  redis.call('ZADD', accepted, replayed, known[1])
  return {'replay', known[1], known[3], '1'}
end
local is_same = not began or existing[2] == ARGV[6]
if not began then
  redis.call('HSET', record,
    'id', order_id, 'status', ACCEPTED, 'order', ARGV[5], 'fingerprint', ARGV[6], 'accepted_at', now,
    'correlation_id', ARGV[7], 'traceparent', ARGV[8], 'idempotency_key', ARGV[11],
    'timeline', now .. '\t' .. ACCEPTED .. '\t\t')
end
if key and is_same then
  redis.call('HSET', key, 'order_id', order_id, 'fingerprint', ARGV[9], 'media_type', ARGV[10])
end
redis.call('ZADD', outbox, now, order_id)
redis.call('SET', claim, token, 'EX', ARGV[2])
redis.call('ZADD', accepted, now, order_id)
if not is_same then return {'duplicate', ACCEPTED, existing[2] or ''} end
return {'new', now}
