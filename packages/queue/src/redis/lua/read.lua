-- Reads tasks of one queue, each in one consistent state.
-- KEYS: those of base.lua   ARGV: 1 how many log lines at most; ids
-- returns: for each task: text or '', record or '', attempts or '', claim or '', due time or '', progress, log, open children
-- Safe to repeat: it only reads.
-- @include base
local reply = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local blob = call('HGET', JOBS, id)
  if not blob then
    reply[i - 1] = { '' }
  else
    local record = call('HGET', RES, id)
    local own = not record and call('HGET', OWN, id)
    local due = false
    if not record and not own then
      for p = 0, 2 do
        due = due or call('ZSCORE', DLY, p .. ':' .. id) or call('ZSCORE', DLY, p .. 'g' .. id)
      end
    end
    reply[i - 1] = {
      blob, record or '', call('HGET', ATT, id) or '', own or '', due or '',
      call('HGET', NOTE, id) or '', call('HGET', LOG, id) or '', call('HGET', DEP, id) or '0',
    }
  end
end
return reply
