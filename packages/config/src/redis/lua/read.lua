-- Reads the head and the position of the log in one step, so that neither can be newer than the other.
--
-- KEYS: 1 head (hash), 2 log (stream)
-- ARGV: 1 the digest the caller knows; the document is left out when it is the same
-- returns: { version, digest, document or '', trail, last id of the log }; version '' when there is no head
--
-- Safe to repeat: it writes nothing.
local head = redis.call('HMGET', KEYS[1], 'version', 'digest', 'document', 'trail')
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local id = last[1] and last[1][1] or '0-0'
if not head[1] or not head[2] or not head[3] then
  return { '', '', '', '', id }
end
local document = head[3]
if head[2] == ARGV[1] then
  document = ''
end
return { head[1], head[2], document, head[4] or '[]', id }
