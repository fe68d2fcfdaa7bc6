-- Records that an undecided order waits for another attempt, or lies in the dead-letter queue.
-- Nothing overwrites a decision. A note may arrive long after its sender gave up on it: if it comes twice it counts
-- once, and what is dead stays dead until it is decided or sent back, see revive.lua. A note that was cut before it
-- reached the indexes is finished by its repetition.
--
-- KEYS  1 order:{id}  2 orders:accepted  3 orders:retrying  4 orders:dead  5 orders:log
-- ARGV  1 order id  2 trouble  3 reason  4 attempts  5 seconds until the next one ('' if dead)
--       6 when it failed, microseconds by whichever clock: the same for a note that is repeated
--       7 content fingerprint  8 who says so
-- Returns 1 if it was recorded, now or before, 0 if the order is decided, cancelled, dead already, has no record or is another
-- one that was accepted under the same id.

local record, log = KEYS[1], KEYS[5]
local order_id, trouble = ARGV[1], ARGV[2]
local known = redis.call('HMGET', record, 'status', 'accepted_at', 'timeline', 'noted', 'fingerprint', 'decided_at',
  'trouble')
if known[5] and known[5] ~= ARGV[7] then return 0 end
if not known[1] or known[1] == CANCELLED or known[6] then return 0 end
local before = trouble_of(known[1], known[7])
if before == DEAD and trouble == RETRYING then return 0 end
local noted, note = known[4] or '', trouble .. ' ' .. ARGV[4] .. ' ' .. ARGV[6] .. '\n'
for i = 2, 4 do redis.call('ZSCORE', KEYS[i], order_id) end
redis.call('XLEN', log)

local timeline = known[3] or ''
local first = steps_in(timeline) - 1
if string.find(noted, note, 1, true) then
  trouble = before
else
  local now, next_attempt_at = time_now(), ''
  if ARGV[5] ~= '' then
    next_attempt_at = string.format('%.0f', tonumber(now) + tonumber(ARGV[5]) * 1000000)
  end
  first = steps_in(timeline)
  timeline = with_step(timeline, now, trouble, ARGV[3], ARGV[4], ARGV[8])
  redis.call('HSET', record, 'status', ACCEPTED, 'trouble', trouble, 'reason', ARGV[3], 'attempts', ARGV[4],
    'noted', noted .. note, 'next_attempt_at', next_attempt_at, 'timeline', timeline)
end
enter(log, order_id, timeline, first)
redis.call('ZADD', trouble == DEAD and KEYS[4] or KEYS[3], known[2], order_id)
redis.call('ZREM', trouble == DEAD and KEYS[3] or KEYS[4], order_id)
redis.call('ZADD', KEYS[2], known[2], order_id)
return 1
