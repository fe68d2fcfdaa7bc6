-- Puts what was read into the cache, unless it was written meanwhile: a slow reader cannot put back what was.
-- Without a body the reader has nothing to put, and makes way for another.
--
-- KEYS  1 the answer  2 who reads it anew  3 the generation
-- ARGV  1 token  2 generation when the reading began  3 body ('' for none)  4 how long it is fresh, milliseconds
--       5 how long it is kept
-- Returns 1 if it is in the cache.

local answer, reading, generation = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local is_reader, is_current = redis.call('GET', reading) == ARGV[1], redis.call('GET', generation) == ARGV[2]

if not is_reader then return 0 end
redis.call('DEL', reading)
if not is_current or ARGV[3] == '' then return 0 end
local fresh_until = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4]
redis.call('HSET', answer, 'body', ARGV[3], 'generation', ARGV[2], 'fresh_until', string.format('%.0f', fresh_until))
redis.call('PEXPIRE', answer, ARGV[5])
return 1
