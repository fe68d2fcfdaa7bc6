-- Ends an order that an operator gave up: rejects it as dropped. A decided order keeps its decision.
-- The books are those of reserve.lua; no stock is touched, because a rejected order takes none.
--
-- KEYS  1 order:{id}  2 orders.processed.count  3 orders:rejected  4 orders:accepted  5 orders:retrying
--       6 orders:dead
-- ARGV  1 order id  2 placed at, microseconds  3 order, JSON  4 content fingerprint  5 correlation id
--       6 traceparent  7 reason
-- Returns {status, decided at, reason, sku at fault}, {'other_content'} where another order was accepted under this id,
-- or {'broken', key}.

local record, count, order_id = KEYS[1], KEYS[2], ARGV[1]
local known = redis.call('HMGET', record, 'status', 'decided_at', 'reason', 'sku_at_fault', 'accepted_at', 'timeline',
  'fingerprint')
if known[7] and known[7] ~= ARGV[4] then return {'other_content'} end
if known[1] == 'created' or known[1] == 'rejected' then
  return {known[1], known[2], known[3] or '', known[4] or ''}
end

-- Every check stands before the first write, because Redis does not roll a script back.
for i = 3, 6 do redis.call('ZSCORE', KEYS[i], order_id) end
local decided = redis.call('GET', count)
if decided and not (#decided <= 15 and string.match(decided, '^-?%d+$')) then return {'broken', count} end

local clock = redis.call('TIME')
local now = clock[1] .. string.format('%06d', clock[2])
local accepted_at, timeline = known[5] or ARGV[2], known[6]
if not known[1] then
  redis.call('HSET', record, 'id', order_id, 'order', ARGV[3], 'fingerprint', ARGV[4], 'accepted_at', accepted_at,
    'correlation_id', ARGV[5], 'traceparent', ARGV[6], 'idempotency_key', '')
  timeline = accepted_at .. '\taccepted\t\t\n' .. now .. '\trecreated\trecord_missing\t'
end
redis.call('HDEL', record, 'next_attempt_at', 'attempts', 'noted')
redis.call('HSET', record, 'status', 'rejected', 'decided_at', now, 'reason', ARGV[7], 'sku_at_fault', '',
  'sequence', redis.call('INCR', count),
  'timeline', (timeline or '') .. '\n' .. now .. '\trejected\t' .. ARGV[7] .. '\t')
for i = 4, 6 do redis.call('ZREM', KEYS[i], order_id) end
redis.call('ZADD', KEYS[3], accepted_at, order_id)
return {'rejected', now, ARGV[7], ''}
