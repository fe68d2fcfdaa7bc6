-- Removes a decided order whose retention is over and keeps its sums, so that the books still balance.
--
-- KEYS  1 order:{id}  2 orders:{status}  3 orders.archive  4 notifications:{order id}  5 idemp:{order id}
--       6 idempkey:{key} (only where the order has one)
-- ARGV  1 order id  2 status  3 decided at, microseconds  4… sku, qty for each item
-- Returns 1 if it was removed, 0 if it is not the decided order that was read, or a sum is no integer.

local record = redis.call('HMGET', KEYS[1], 'status', 'decided_at')
if record[1] ~= ARGV[2] or record[2] ~= ARGV[3] then return 0 end
redis.call('ZSCORE', KEYS[2], ARGV[1])
local fields = {ARGV[2]}
if ARGV[2] == 'created' then
  for i = 4, #ARGV, 2 do fields[#fields + 1] = 'sku:' .. ARGV[i] end
end
for _, sum in pairs(redis.call('HMGET', KEYS[3], unpack(fields))) do
  if sum and sum ~= '0' and not string.match(sum, '^-?[1-9]%d*$') then return 0 end
end

redis.call('ZREM', KEYS[2], ARGV[1])  -- first, since a full store refuses a first write that may need memory
redis.call('HINCRBY', KEYS[3], ARGV[2], 1)
if ARGV[2] == 'created' then
  for i = 4, #ARGV, 2 do redis.call('HINCRBY', KEYS[3], 'sku:' .. ARGV[i], ARGV[i + 1]) end
end
redis.call('DEL', unpack(KEYS, 4))
redis.call('DEL', KEYS[1])
return 1
