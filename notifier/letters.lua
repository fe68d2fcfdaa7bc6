-- Lets a letter to one address go if the last hour's bound allows it. The same letter may go again, and keeps its
-- one place, from then on.
--
-- KEYS  1 letters:{hash of the address}
-- ARGV  1 letter id  2 beyond how many letters in the window one of its kind may not go  3 the same for any kind
--       4 window, milliseconds
-- Returns 0 if it may go, else the milliseconds until a letter of any kind may.

local letters = KEYS[1]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', letters, '-inf', now - tonumber(ARGV[4]))
local count = redis.call('ZCARD', letters)
if count < tonumber(ARGV[2]) or redis.call('ZSCORE', letters, ARGV[1]) then
  redis.call('ZADD', letters, now, ARGV[1])
  redis.call('PEXPIRE', letters, ARGV[4])
  return 0
end
if count < tonumber(ARGV[3]) then return 1 end
local last = count - tonumber(ARGV[3])
local leaving = redis.call('ZRANGE', letters, last, last, 'WITHSCORES')
return math.max(tonumber(leaving[2]) + tonumber(ARGV[4]) - now, 1)
