-- Accepts an order: claims its id, writes its record and puts it into the outbox, all or nothing.
--
-- KEYS  1 idemp:{id}  2 order:{id}  3 orders:accepted  4 outbox  5 idempkey:{key} (only with a key)
-- ARGV  1 token of this request  2 claim TTL, seconds  3 outbox bound  4 order id  5 order, JSON
--       6 content fingerprint  7 correlation id  8 traceparent  9 fingerprint for the key
--       10 media type of the answer  11 Idempotency-Key ('' without)
-- Returns {'accepted', time}, {'replay', order id, media type, in outbox}, {'reused', order id},
--         {'duplicate', status, fingerprint}, {'full'}; time in microseconds since the epoch.

local claim, record, accepted, outbox, key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, order_id = ARGV[1], ARGV[4]

local function time_of(order) return redis.call('HGET', order, 'accepted_at') or '' end

if redis.call('GET', claim) == token then
  return {'accepted', time_of(record)}
end

if key then
  local known = redis.call('HMGET', key, 'order_id', 'fingerprint', 'media_type')
  if known[1] then
    if known[2] ~= ARGV[9] then return {'reused', known[1]} end
    local waiting = redis.call('ZSCORE', outbox, known[1]) and '1' or '0'
    return {'replay', known[1], known[3], waiting}
  end
end

local existing = redis.call('HMGET', record, 'status', 'fingerprint')
if existing[1] then return {'duplicate', existing[1], existing[2] or ''} end
if redis.call('EXISTS', claim) == 1 then return {'duplicate', '', ''} end
if redis.call('ZCARD', outbox) >= tonumber(ARGV[3]) then return {'full'} end
redis.call('ZSCORE', accepted, order_id)

local clock = redis.call('TIME')
local now = clock[1] .. string.format('%06d', clock[2])
redis.call('SET', claim, token, 'EX', ARGV[2])
redis.call('HSET', record,
  'id', order_id, 'status', 'accepted', 'order', ARGV[5], 'fingerprint', ARGV[6], 'accepted_at', now,
  'correlation_id', ARGV[7], 'traceparent', ARGV[8], 'idempotency_key', ARGV[11],
  'timeline', now .. '\taccepted\t\t')
redis.call('ZADD', accepted, now, order_id)
redis.call('ZADD', outbox, now, order_id)
if key then
  redis.call('HSET', key, 'order_id', order_id, 'fingerprint', ARGV[9], 'media_type', ARGV[10])
end
return {'accepted', now}
