-- What a payment provider remembers of a charge: whether it was taken, and how often money went to and fro.
--
-- KEYS  1 provider:{key of the charge}
-- ARGV  1 'authorise' or 'void'  2 amount  3 currency  4 beyond what amount a charge is declined
-- Returns 'authorised', 'declined' or 'voided'.

local charge = KEYS[1]
local known = redis.call('HMGET', charge, 'state', 'taken', 'returned')
local state, taken, returned = known[1], tonumber(known[2] or '0'), tonumber(known[3] or '0')
if state and (ARGV[1] == 'authorise' or state == 'voided') then return state end
if ARGV[1] == 'void' then
  redis.call('HSET', charge, 'state', 'voided', 'returned', state == 'authorised' and returned + 1 or returned)
  return 'voided'
end
state = tonumber(ARGV[2]) > tonumber(ARGV[4]) and 'declined' or 'authorised'
redis.call('HSET', charge, 'state', state, 'amount', ARGV[2], 'currency', ARGV[3],
  'taken', state == 'authorised' and taken + 1 or taken)
return state
