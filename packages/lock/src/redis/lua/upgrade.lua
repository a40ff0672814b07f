-- Shared to exclusive: at once when there is no other reader, else from the head of the queue.
-- KEYS: x, s, h, q, w, t. ARGV: 1 to 3 as in include/state.lua, 4 id, 5 lease, 6 block, 7 how long a waiter counts as
-- alive, 8 owner.
-- Returns as acquire.lua, or {2} when the shared hold is gone, or {3} when another reader upgrades already.
-- Safe to repeat: keyed by id; an upgrade that was granted is confirmed with a new token.
-- @include state
local id, lease, block = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local how = holds(id, sweep())
if how == 'exclusive' then
  return grantAgain(id, how, lease, block, ARGV[8])
end
if not how then
  return { 2 }
end
local other = redis.call('HGET', w, '^')
if other and other ~= id and redis.call('ZSCORE', q, other) and redis.call('ZSCORE', s, other) then
  return { 3 }
end
enqueue(id, 'upgrade', lease, block, tonumber(ARGV[7]), 0, 0, 0, ARGV[8])
local mine = pump(id)
if mine then
  return { 1, mine, contended() }
end
return { 0, nextExpiry(), 1, ms }
