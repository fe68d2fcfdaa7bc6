-- Writes of a handler, together with the note that their events are dealt with.
-- KEYS 1..marks the notes, then the keys of the writes, one each. ARGV 1 marks  2 how long they are kept, milliseconds,
-- then for each write: how many words it has, and its words but the key: the command, then its arguments.
-- Returns 'done'; 'again' where an event is dealt with already and nothing was written; or how many writes were made
-- before one was refused, and why. What was made before stays, and the notes with it: nothing is ever done twice.
local marks, keep = tonumber(ARGV[1]), ARGV[2]
for i = 1, marks do
    if redis.call('EXISTS', KEYS[i]) == 1 then return {'again'} end
end

local writes, at = {}, 3
for i = marks + 1, #KEYS do
    local words = tonumber(ARGV[at])
    local write = {ARGV[at + 1], KEYS[i]}
    for word = 2, words do write[#write + 1] = ARGV[at + word] end
    writes[#writes + 1], at = write, at + words + 1
    if redis.acl_check_cmd then
        local is_known, may = pcall(redis.acl_check_cmd, unpack(write))
        if not is_known then return {'refused', 0, 'ERR no such command: ' .. write[1]} end
        if not may then return {'refused', 0, 'NOPERM no right to run ' .. write[1]} end
    end
end

local refused
for made, write in ipairs(writes) do
    local result = redis.pcall(unpack(write))
    if type(result) == 'table' and result.err then
        refused = {'refused', made - 1, result.err}
        if made == 1 then return refused end
        break
    end
end
for i = 1, marks do redis.call('SET', KEYS[i], '1', 'PX', keep) end
return refused or {'done'}
