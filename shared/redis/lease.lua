-- Takes or extends a lease. KEYS 1 the lease. ARGV 1 owner  2 duration, milliseconds. Returns 1 if held.
-- A full store refuses a script whose first write may need memory; deleting needs none, and the sweep that makes
-- room needs this lease.

local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
