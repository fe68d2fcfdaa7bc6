-- Takes its customer's address out of an order that has come to its end, and the order out of the customer's index.
-- It has once it is decided and its customer was told, or cannot be. Sums, stock and history stay as they are.
--
-- KEYS  1 order:{id}  2 orders:customer:{id}  3 notifications:{order id}  4 notifications.untold
-- ARGV  1 order id  2 customer  3 accepted at, microseconds  4 order without the address, JSON
-- Returns 1 if the order is not in the index any more, 0 if it is yet to come to its end.

local known = redis.call('HMGET', KEYS[1], 'customer', 'accepted_at', 'decided_at')
redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('HLEN', KEYS[3])
local is_own = known[1] == ARGV[2]
if is_own then
  if known[2] ~= ARGV[3] or not known[3] then return 0 end
  for _, kind in pairs(EVENT_TYPES) do
    if redis.call('ZSCORE', KEYS[4], ARGV[1] .. ':' .. kind) then return 0 end
  end
end

if is_own then
  redis.call('HSET', KEYS[1], 'order', ARGV[4])
  redis.call('HDEL', KEYS[3], 'last_error')
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
