-- Takes up an order whose time has come: it is accepted, waits in the outbox, and is scheduled no more. Asked again, and
-- where it was cut, it does what is left to do; an order that was cancelled only leaves those that wait for their time.
--
-- KEYS  1 order:{id}  2 orders:due  3 orders:due:{customer}, without a customer order:{id}  4 orders:scheduled
--       5 orders:accepted  6 outbox  7 orders:log
-- ARGV  1 order id  2 who takes it up  3 '1' if it is a customer's
-- Returns 1 if its message is to be published, else 0.

local record, due, own_due, scheduled = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local accepted, outbox, log = KEYS[5], KEYS[6], KEYS[7]
local order_id = ARGV[1]
local known = redis.call('HMGET', record, 'status', 'accepted_at', 'timeline')
local status, place, timeline, now = known[1], known[2], known[3] or '', time_now()
redis.call('ZSCORE', due, order_id)
if ARGV[3] == '1' then redis.call('SISMEMBER', own_due, order_id) end
redis.call('ZSCORE', scheduled, order_id)
redis.call('ZSCORE', accepted, order_id)
redis.call('ZCARD', outbox)
redis.call('XLEN', log)

local first = 0
if status == SCHEDULED then
  first = steps_in(timeline)
  status, timeline = ACCEPTED, with_step(timeline, now, ACCEPTED, 'due', '', ARGV[2])
  redis.call('HSET', record, 'status', status, 'timeline', timeline)
end
if status then enter(log, order_id, timeline, first) end
if status == ACCEPTED then
  redis.call('ZADD', outbox, place, order_id)
  redis.call('ZADD', accepted, place, order_id)
end
redis.call('ZREM', scheduled, order_id)
if ARGV[3] == '1' then redis.call('SREM', own_due, order_id) end
redis.call('ZREM', due, order_id)
return status == ACCEPTED and 1 or 0
