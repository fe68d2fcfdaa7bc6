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

-- How far on the step stands in the life of its order that an event announces.
local function place_of(event_id)
  return PLACES[string.match(event_id, ':(.*)$')] or 0
end

-- A timeline has a line for each step of its order, which is numbered by it.
local function with_step(timeline, at, step, reason, attempts, by)
  local line = at .. '\t' .. step .. '\t' .. reason .. '\t' .. attempts .. '\t' .. by
  return timeline == '' and line or timeline .. '\n' .. line
end

local function steps_in(timeline)
  local _, breaks = string.gsub(timeline, '\n', '')
  return timeline == '' and 0 or breaks + 1
end

-- Puts the steps behind the first ones of a timeline into the log of all steps, once the record has them. Where a
-- script was cut they may come twice: their numbers tell.
local function enter(log, order_id, timeline, first)
  local number = 0
  for line in string.gmatch(timeline, '[^\n]+') do
    number = number + 1
    if number > first then
      local at, step, reason, by = string.match(line, '^(%d+)\t([^\t]*)\t([^\t]*)\t[^\t]*\t?(.*)$')
      redis.call('XADD', log, '*', 'o', order_id, 'n', number, 't', step or '', 'at', at or '', 'reason', reason or '',
        'by', by or '')
    end
  end
end
