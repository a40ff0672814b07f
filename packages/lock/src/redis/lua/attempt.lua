-- Takes a resource at one server of a quorum, or says that it is not free. Nobody queues here: each server could put
-- another one first, and then nobody would get a majority.
-- KEYS: x, s, h, q, w, t (include/state.lua), i: the writer for whom readers hold back. ARGV: 1 to 3 as there, 4 id,
-- 5 mode, 6 lease, 7 block, 8 whether it will ask again (1), 9 for how long readers hold back then, 10 owner.
-- Returns as acquire.lua.
-- Safe to repeat: keyed by id; a hold that stands is confirmed with a new token.
-- @include state
local id, mode, lease, block, owner = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[10]
local how = holds(id, sweep())
if how then
  return grantAgain(id, how, lease, block, owner)
end
-- Only an upgrade can queue, before everybody else; here one that is dead goes.
pump('')
local writer = redis.call('GET', KEYS[7])
if redis.call('EXISTS', q) == 0 and (mode == 'exclusive' or not writer) and fits(id, mode, 0, 0) then
  local token = mint(block)
  place(id, mode, lease, token, 0, owner)
  if writer == id then
    redis.call('DEL', KEYS[7])
  end
  return { 1, token, 0 }
end
if ARGV[8] == '1' then
  local value = redis.call('GET', x)
  if value and not isShared(value) then
    tell(idOf(value), 'c|' .. idOf(value) .. '|0')
  elseif mode == 'exclusive' then
    redis.call('SET', KEYS[7], id, 'PX', ARGV[9])
  end
end
return { 0, nextExpiry(), 0, ms }
