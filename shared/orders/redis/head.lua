-- Stands before every script of this folder, after the names of statuses and troubles, which the model gives.

-- What INCRBY takes and Lua counts exactly; it refuses '007' and '-0'.
local function is_integer(value)
  return value == '0' or (#value <= 15 and string.match(value, '^-?[1-9]%d*$'))
end

-- Microseconds since the epoch, by the store's own clock.
local function time_now()
  local clock = redis.call('TIME')
  return clock[1] .. string.format('%06d', clock[2])
end

-- An older version kept the trouble of an order as its status.
local function trouble_of(status, trouble)
  if status == RETRYING or status == DEAD then return status end
  return trouble
end
