-- Records that an undecided order waits for another attempt, or lies in the dead-letter queue.
-- Nothing overwrites a decision. A note may arrive long after its sender gave up on it: if it comes twice it counts
-- once, and what is dead stays dead until it is decided or sent back, see revive.lua.
--
-- KEYS  1 order:{id}  2 orders:accepted  3 orders:retrying  4 orders:dead
-- ARGV  1 order id  2 status: retrying or dead  3 reason  4 attempts  5 seconds until the next one ('' if dead)
--       6 when it failed, microseconds by whichever clock: the same for a note that is repeated
--       7 content fingerprint
-- Returns 1 if it was recorded, now or before, 0 if the order is decided, dead already, has no record or is another
-- one that was accepted under the same id.

local record, order_id, status = KEYS[1], ARGV[1], ARGV[2]
local known = redis.call('HMGET', record, 'status', 'accepted_at', 'timeline', 'noted', 'fingerprint')
if known[5] and known[5] ~= ARGV[7] then return 0 end
if not known[1] or known[1] == 'created' or known[1] == 'rejected' then return 0 end
if known[1] == 'dead' and status == 'retrying' then return 0 end
local noted, note = known[4] or '', status .. ' ' .. ARGV[4] .. ' ' .. ARGV[6] .. '\n'
if string.find(noted, note, 1, true) then return 1 end
for i = 2, 4 do redis.call('ZSCORE', KEYS[i], order_id) end

local clock = redis.call('TIME')
local now = clock[1] .. string.format('%06d', clock[2])
redis.call('HSET', record, 'status', status, 'reason', ARGV[3], 'attempts', ARGV[4],
  'noted', noted .. note,
  'timeline', (known[3] or '') .. '\n' .. now .. '\t' .. status .. '\t' .. ARGV[3] .. '\t' .. ARGV[4])
if ARGV[5] == '' then
  redis.call('HDEL', record, 'next_attempt_at')
else
  redis.call('HSET', record, 'next_attempt_at', string.format('%.0f', tonumber(now) + tonumber(ARGV[5]) * 1000000))
end
for i = 2, 4 do redis.call('ZREM', KEYS[i], order_id) end
redis.call('ZADD', status == 'dead' and KEYS[4] or KEYS[3], known[2], order_id)
return 1
