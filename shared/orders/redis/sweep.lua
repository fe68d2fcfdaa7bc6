-- Removes an order that has come to its end, once its retention is over, and keeps its sums, so that the books still
-- balance: one that was delivered has its pieces for ever, one that was cancelled has given them back.
-- The sums are written at once with a mark of the order, and the mark goes last: a cut is finished by the next round.
--
-- KEYS  1 order:{id}  2 orders:{status}  3 orders.archive  4 decision:{id}  5 move:{id}
--       6 orders:customer:{id}, orders:{status} again where the order has no customer
--       7 notifications:{order id}  8 idemp:{order id}  9 provider:{order id}  10 orders:kept
--       11 idempkey:{customer}:{key} (only where the order has one)
--       12 idempkey:{key}, as an older version named it (as 11)
-- ARGV  1 order id  2 status  3 ended at, microseconds ('' where there is no record)
--       4 under what the latest end of a removed order is noted  5… sku, qty for each item
-- Returns 1 if it was removed, 0 if it is not the order that was read, is being written, or a sum is no integer.

local order_id, mark = ARGV[1], KEYS[1]
local known = redis.call('HMGET', KEYS[1], 'status', 'decided_at', 'moved_at')
local marked = redis.call('HGET', KEYS[3], mark)
local is_archived = marked and (not known[1] or marked == ARGV[3])  -- an older order may have had the id
if known[1] and (known[1] ~= ARGV[2] or (known[3] or known[2]) ~= ARGV[3]) then return 0 end
if not known[1] and not is_archived then return 0 end
if redis.call('EXISTS', KEYS[4]) == 1 or redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
redis.call('ZSCORE', KEYS[2], order_id)
redis.call('ZSCORE', KEYS[6], order_id)
redis.call('ZCARD', KEYS[10])
local own = {unpack(KEYS, 7, 9)}
own[4] = KEYS[11]
if KEYS[12] and redis.call('HGET', KEYS[12], 'order_id') == order_id then own[5] = KEYS[12] end

local pieces = {[ARGV[2]] = 1}
if not known[2] then pieces['undecided'] = 1 end
if ARGV[2] == DELIVERED then
  for i = 5, #ARGV, 2 do pieces['sku:' .. ARGV[i]] = tonumber(ARGV[i + 1]) end
end
local sums = {}
for field, more in pairs(pieces) do
  local sum = redis.call('HGET', KEYS[3], field) or '0'
  if not is_integer(sum) then return 0 end
  sums[#sums + 1], sums[#sums + 2] = field, string.format('%.0f', tonumber(sum) + more)
end

redis.call('DEL', unpack(own))  -- first, since a full store refuses a first write that may need memory
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[10], 'GT', ARGV[3], ARGV[4]) end
if not is_archived then redis.call('HSET', KEYS[3], mark, ARGV[3], unpack(sums)) end
if KEYS[6] ~= KEYS[2] then redis.call('ZREM', KEYS[6], order_id) end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], order_id)
redis.call('HDEL', KEYS[3], mark)
return 1
