-- Notes that a letter went, or goes now, whose answer may never be known. Only the holder of the claim may say so,
-- and of a letter that went also an owner whose lease ended, as long as no other has claimed since.
--
-- KEYS  1 notif:{event id}  2 notifications:{order id}
-- ARGV  1 owner  2 event id  3 letters whose answer is unknown, this one included: 1 or 2
--       4 how long others wait for the answer, milliseconds  5 message id, or empty where the letter goes only now
--       6 retention, seconds
-- Returns 1 if it was noted, 0 if the claim is another's by now.

local claim, record = KEYS[1], KEYS[2]
local held = redis.call('GET', claim)
local _, _, holder = string.find(held or '', '^unconfirmed:%d:%d+:(.*)$')
local has_lapsed = not held and ARGV[5] ~= ''
if not has_lapsed and held ~= 'sending:' .. ARGV[1] and holder ~= ARGV[1] then return 0 end

local known = redis.call('HGET', record, 'event_id')
local clock = redis.call('TIME')
local now = clock[1] .. string.format('%06d', clock[2])
local ends = string.format('%.0f', now + ARGV[4] * 1000)
redis.call('DEL', claim)  -- first: a full store lets nothing else be first
redis.call('SET', claim, 'unconfirmed:' .. ARGV[3] .. ':' .. ends .. ':' .. ARGV[1], 'EX', ARGV[6])
if ARGV[5] ~= '' and known == ARGV[2] then
  redis.call('HSET', record, 'unconfirmed', ARGV[3], 'unconfirmed_at', now, 'message_id', ARGV[5])
end
return 1
