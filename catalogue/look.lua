-- Looks for an answer in the cache. Where there is none that holds, the first who asks is to read the database.
-- An answer holds while it has the generation that its product, or all lists, have now: a write gives them another.
--
-- KEYS  1 the answer  2 who reads it anew  3 the generation
-- ARGV  1 token  2 how long a reader may take, milliseconds (0: do not ask to read)  3 how long a generation is kept
--       4 how long before its end an answer may be read anew
-- Returns {'hit', body}, {'late', body} of one that holds and may be read anew, {'read', body there is or '', generation}
--         or {'wait', body of before or ''}.

local answer, reading, generation = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local current, reader = redis.call('GET', generation), redis.call('GET', reading)
local found = redis.call('HMGET', answer, 'body', 'generation', 'fresh_until')

local left = found[1] and current and found[2] == current and tonumber(found[3]) - now or 0
local is_late = left <= tonumber(ARGV[4]) and not reader
if left > 0 and not (is_late and ARGV[2] ~= '0') then return {is_late and 'late' or 'hit', found[1]} end
if reader or ARGV[2] == '0' then return {'wait', found[1] or ''} end

if not current then
  current = ARGV[1]
  redis.call('SET', generation, current, 'PX', ARGV[3])
end
redis.call('SET', reading, ARGV[1], 'PX', ARGV[2])
return {'read', found[1] or '', current}
