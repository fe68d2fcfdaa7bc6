-- Takes its customer's address out of an order that has come to its end, and the order out of the customer's index.
-- It has once its status is final and its customer was told, or cannot be. Sums, stock and history stay as they are.
-- Messages about it may carry the address yet: from now on the notifier passes over them, and until they are found
-- among the dead letters the order is listed with its content.
--
-- KEYS  1 order:{id}  2 orders:customer:{id}  3 notifications:{order id}  4 notifications.untold
--       5 notif:{event id} of its end  6 orders.erased  7… notif:{event id} of each step before
-- ARGV  1 order id  2 customer  3 accepted at, microseconds  4 order without the address, JSON
--       5 {order id}:{content fingerprint}  6 event id of its end ('' where there is none yet)  7 retention, seconds
--       8… event id of each step before
-- Returns 1 if the order is not in the index any more, 0 if it is yet to come to its end.

local known = redis.call('HMGET', KEYS[1], 'customer', 'accepted_at')
redis.call('ZSCORE', KEYS[2], ARGV[1])
redis.call('HLEN', KEYS[3])
redis.call('ZCARD', KEYS[6])
local mark, now = redis.call('GET', KEYS[5]) or '', time_now()
local is_own = known[1] == ARGV[2]
local function is_told(step) return string.sub(step, 1, 4) == 'sent' or step == 'declined' end
if is_own then
  if known[2] ~= ARGV[3] or ARGV[6] == '' then return 0 end
  if redis.call('ZSCORE', KEYS[4], ARGV[6]) or string.sub(mark, 1, 8) == 'sending:' then return 0 end
end
local unsent = {}
for i = 7, #KEYS do
  local step = redis.call('GET', KEYS[i]) or ''
  if is_own and string.sub(step, 1, 8) == 'sending:' then return 0 end
  if not is_told(step) then unsent[#unsent + 1] = i end
end

if is_own then
  redis.call('ZADD', KEYS[6], now, ARGV[5])
  for _, i in ipairs(unsent) do
    redis.call('ZREM', KEYS[4], ARGV[i + 1])
    redis.call('SET', KEYS[i], 'erased', 'EX', ARGV[7])
  end
  if not is_told(mark) then redis.call('SET', KEYS[5], 'erased', 'EX', ARGV[7]) end
  redis.call('HSET', KEYS[1], 'order', ARGV[4])
  redis.call('HDEL', KEYS[3], 'last_error')
end
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
