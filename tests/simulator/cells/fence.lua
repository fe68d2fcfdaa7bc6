-- Stands before every script of a cell: whether the cell has the slot of a customer, and by which epoch.
-- cell.slots has '{epoch} open' or '{epoch} shut' by slot; one that the cell never had is missing.

local function slot_of(customer)
  local slot = 0
  for i = 1, #customer do slot = (slot * 31 + string.byte(customer, i)) % SLOTS end
  return slot
end

local function held(slot)
  local epoch, state = string.match(redis.call('HGET', 'cell.slots', slot) or '0 shut', '^(%d+) (%a+)$')
  return tonumber(epoch), state == 'open'
end

local function owner_of(record)
  return redis.call('HGET', record, 'customer') or ''
end

local function takes(customer)
  local _, is_open = held(slot_of(customer))
  return is_open
end

-- So many lists from this argument on, each after its length.
local function lists(first, count)
  local found = {}
  for i = 1, count do
    local list = {}
    for j = first + 1, first + tonumber(ARGV[first]) do list[#list + 1] = ARGV[j] end
    found[i], first = list, first + 1 + #list
  end
  return unpack(found)
end
