-- Notes what became of a payment, if that may follow where it stood, and by when something is to be done about it again:
-- not at all once the payment has come to where it stays, while its order stands where it stood for who asks.
--
-- KEYS  1 order:{id}  2 payments:due  3 orders:log
-- ARGV  1 order id  2 where the payment stands now ('' where there is no news)  3 reason  4 who says so
--       5 where it may have stood before, each behind a comma and before one  6 where the order stood
--       7 longest wait in seconds until something is to be done again ('' for never)
-- Returns where the payment stands, '' where there is none.

local record, due, log = KEYS[1], KEYS[2], KEYS[3]
local order_id, to = ARGV[1], ARGV[2]
local known = redis.call('HMGET', record, 'status', 'payment', 'timeline', 'payment_attempts')
local payment, timeline, attempts, now = known[2], known[3] or '', tonumber(known[4] or '0') or 0, time_now()
local is_settled = not payment or (ARGV[7] == '' and known[1] == ARGV[6])
redis.call('ZCARD', due)
redis.call('XLEN', log)

if payment and to ~= '' and string.find(ARGV[5], ',' .. payment .. ',', 1, true) then
  payment, timeline = to, with_step(timeline, now, 'payment_' .. to, ARGV[3], '', ARGV[4])
  redis.call('HSET', record, 'payment', to, 'timeline', timeline)
end
if payment and payment == to then
  local place = string.find(timeline, '\tpayment_' .. to .. '\t', 1, true)
  if place then enter(log, order_id, timeline, steps_in(string.sub(timeline, 1, place)) - 1) end
end
if is_settled then
  redis.call('ZREM', due, order_id)
elseif ARGV[7] == '' then
  redis.call('ZADD', due, now, order_id)
else
  local seconds = math.min(tonumber(ARGV[7]), 2 ^ math.min(attempts, 20))
  redis.call('HSET', record, 'payment_attempts', attempts + 1)
  redis.call('ZADD', due, string.format('%.0f', tonumber(now) + seconds * 1000000), order_id)
end
return payment or ''
