-- Writes a little, as every script does, and has the right to every command that any script of this process calls.
--
-- KEYS  1 store:watch
-- ARGV  1 who asks  2 milliseconds to keep it  3… commands, each followed by how many words it has at least
-- Returns 1.

if redis.acl_check_cmd then
  for i = 3, #ARGV, 2 do
    local question = {ARGV[i], KEYS[1], '', ''}
    if not redis.acl_check_cmd(unpack(question, 1, tonumber(ARGV[i + 1]))) then
      return redis.error_reply('NOPERM no right to run ' .. ARGV[i])
    end
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
