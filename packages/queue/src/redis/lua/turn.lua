-- One exchange of a worker with a queue: settles what is done, lets in what is due, claims more.
-- KEYS: those of base.lua; without groups, unique keys and parents only the first 14
-- ARGV: 1 worker, 2 queue, 3 number of the turn, 4 '1' when it is sent again, 5 lease in ms or 0, 6 want,
--       7 channel for ended ids, 8 '1' when a settled task may have failed before, 9 quotas, 10 completions, 11 other ends,
--       12 links of settled tasks as JSON, or '', 13 how long completed ones are kept, 14 '1' when they have no results;
--       then list and count of each quota; token|id, and unless 14 the result, of each completion; id, token|, kind,
--       priority, delay or keep, counted, error or result of each other end
-- returns: time; ids whose claim was not ours; id, text of each claim; ms until more may come or -1; '1' when something due
--          needs all keys; the token of the first claim, which the others follow, or a list of them all; place and
--          attempts|stalls of those claims that have any
-- Safe to repeat: settlements are fenced by their token, and what a turn claimed is kept under its number until the next,
-- so that a turn sent again gives the same claims, and one that arrives late claims nothing.
-- @include base
-- @include links

local worker, queue, turn = ARGV[1], ARGV[2], tonumber(ARGV[3])
local want = tonumber(ARGV[6])
local nQuotas, nDone, nOther = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local links = ARGV[12] ~= '' and cjson.decode(ARGV[12]) or {}
local keep, stride = tonumber(ARGV[13]), ARGV[14] == '1' and 1 or 2
local full = #KEYS > 14
local now = clock()
-- Turns of even and odd numbers are two rows of their own, so that two may be under way at once.
local field = 'n:' .. queue .. '\n' .. worker .. '\n' .. turn % 2
local conf = call('HMGET', CFG, 'p*', 'p:' .. queue, 'c:' .. queue, 'r:' .. queue, 't:' .. queue, 'w', field)

if conf[7] then
  local break_at = string.find(conf[7], '\n', 1, true)
  local last = tonumber(string.sub(conf[7], 1, break_at - 1))
  if turn < last then return { now, {}, {}, -1, '', 0, {} } end
  if turn == last then
    local out, tokens, counts = {}, {}, {}
    for id in string.gmatch(string.sub(conf[7], break_at + 1), '[^\n]+') do
      local own, blob = call('HGET', OWN, id), call('HGET', JOBS, id)
      if own and blob then
        local token, by, a, s = string.match(own, '^(%d+)|([^|]*)|%d|%d+|(%d+)|(%d+)')
        if by == worker then
          out[#out + 1] = id
          out[#out + 1] = blob
          tokens[#tokens + 1] = token
          counts[#counts + 1] = #tokens
          counts[#counts + 1] = a .. '|' .. s
        end
      end
    end
    return { now, {}, out, 1, '', tokens, counts }
  end
end

local lost, ended = {}, {}
if nDone + nOther > 0 then
  local base = 14 + 2 * nQuotas
  local other = base + stride * nDone
  local ids, tokens = {}, {}
  for i = 1, nDone do
    local claim = ARGV[base + stride * (i - 1) + 1]
    local bar = string.find(claim, '|', 1, true)
    tokens[i] = string.sub(claim, 1, bar)
    ids[i] = string.sub(claim, bar + 1)
  end
  for i = 1, nOther do ids[nDone + i] = ARGV[other + 7 * i - 6] end
  local owns = call('HMGET', OWN, unpack(ids))
  local free, records, expiries, gone, failed = {}, {}, {}, {}, 0
  local completed = 0
  local function complete(id, own, keep, result)
    ended[#ended + 1] = id
    completed = completed + 1
    if keep > 0 then
      records[#records + 1] = id
      records[#records + 1] = 'c|' .. now .. '|' .. own .. '\n\n' .. result
      expiries[#expiries + 1] = now + keep
      expiries[#expiries + 1] = id
    else
      gone[#gone + 1] = id
    end
    if links[id] then release(links[id], now, true, result, false) end
  end
  for i = 1, nDone do
    local own, token, id = owns[i], tokens[i], ids[i]
    if own and string.sub(own, 1, #token) == token then
      free[#free + 1] = id
      complete(id, own, keep, stride == 1 and '' or ARGV[base + 2 * i])
    else
      lost[#lost + 1] = id
    end
  end
  for i = 1, nOther do
    local at = other + 7 * i
    local own, token, id = owns[nDone + i], ARGV[at - 5], ids[nDone + i]
    if own and string.sub(own, 1, #token) == token then
      free[#free + 1] = id
      local kind, prio, ms, counted, err = ARGV[at - 4], tonumber(ARGV[at - 3]), tonumber(ARGV[at - 2]), tonumber(ARGV[at - 1]), ARGV[at]
      local break_at = string.find(own, '\n', 1, true)
      if (kind == 'r' or kind == 'b') and break_at then
        -- Somebody cancelled it while it ran: it is not run again.
        kind, ms, counted, err = 'x', 3600000, 0, string.sub(own, break_at + 1)
      end
      if kind == 'c' then
        complete(id, own, ms, err)
      elseif kind == 'b' then
        call('RPUSH', W[prio + 1], id)
        call('ZADD', MK, 0, '0')
      elseif kind == 'r' then
        local a, s = string.match(own, '^%d+|[^|]*|%d|%d+|(%d+)|(%d+)')
        call('HSET', ATT, id, (a + counted) .. '|' .. s .. '|' .. err)
        failed = failed + counted
        local g = links[id] and links[id].g
        local when = now + ms
        if g then when = slot(g.rate, g.key, when) end
        if when > now then
          call('ZADD', DLY, when, prio .. ':' .. id)
        else
          call('LPUSH', W[prio + 1], id)
        end
        call('ZADD', MK, 0, '0')
      else
        ended[#ended + 1] = id
        failed = failed + counted
        local record = (counted == 1 and string.upper(kind) or kind) .. '|' .. now .. '|' .. own .. '\n\n' .. err
        if kind == 'd' then
          records[#records + 1] = id
          records[#records + 1] = record
          call('ZADD', DEAD, now, id)
        elseif ms > 0 then
          records[#records + 1] = id
          records[#records + 1] = record
          expiries[#expiries + 1] = now + ms
          expiries[#expiries + 1] = id
        else
          gone[#gone + 1] = id
        end
        if links[id] then release(links[id], now, true, nil, true) end
      end
    else
      lost[#lost + 1] = id
    end
  end
  if #free > 0 then call('HDEL', OWN, unpack(free)) end
  if #records > 0 then call('HSET', RES, unpack(records)) end
  if #expiries > 0 then call('ZADD', RX, unpack(expiries)) end
  if #gone > 0 then call('HDEL', JOBS, unpack(gone)) end
  if #ended > 0 and ARGV[8] == '1' then call('HDEL', ATT, unpack(ended)) end
  if completed > 0 then call('HINCRBY', ST, 'c:' .. queue, completed) end
  if failed > 0 then call('HINCRBY', ST, 'x:' .. queue, failed) end
  -- With a limit on concurrency, every end makes room for whoever waits.
  if conf[3] and #free > 0 then call('ZADD', MK, 0, '0') end
  if conf[6] and tonumber(conf[6]) > now and #ended > 0 then call('PUBLISH', ARGV[7], table.concat(ended, '\n')) end
end

local needs_all, more_due = '', false
local due = call('ZRANGEBYSCORE', DLY, '-inf', now, 'LIMIT', 0, 500)
if #due > 0 then
  local lists, moved = { {}, {}, {} }, {}
  for _, member in ipairs(due) do
    local prio, id = tonumber(string.sub(member, 1, 1)), string.sub(member, 3)
    if string.sub(member, 2, 2) == ':' then
      moved[#moved + 1] = member
      local list = lists[prio + 1]
      list[#list + 1] = id
    elseif full then
      moved[#moved + 1] = member
      local mark = call('HGET', GM, id)
      call('HDEL', GM, id)
      if mark then enter(cjson.decode(string.sub(mark, 2)), id, prio, now) end
    else
      needs_all = '1'
    end
  end
  if #moved > 0 then call('ZREM', DLY, unpack(moved)) end
  for p = 1, 3 do
    if #lists[p] > 0 then call('LPUSH', W[p], unpack(lists[p])) end
  end
  more_due = #due == 500
end

local out, next, first, counts = {}, -1, 0, {}
if want > 0 and not conf[1] and not conf[2] then
  local allowed = want
  if conf[3] then allowed = math.max(0, math.min(allowed, tonumber(conf[3]) - call('HLEN', OWN))) end
  local rate, tat = nil, nil
  if conf[4] and allowed > 0 then
    local limit, per = string.match(conf[4], '^(%d+)|(%d+)')
    rate = per / limit
    tat = math.max(tonumber(conf[5] or '0'), now)
    local room = now + tonumber(per) - tat
    local tokens = math.floor(room / rate + 1e-6)
    if tokens <= 0 then next = math.max(1, math.ceil(rate - room)) end
    allowed = math.max(0, math.min(allowed, tokens))
  end
  local ids, prios = {}, {}
  local function pop(list, count)
    if count <= 0 then return end
    local got = call('RPOP', W[list], count)
    if not got then return end
    for i = 1, #got do
      ids[#ids + 1] = got[i]
      prios[#ids] = list - 1
    end
  end
  for i = 1, nQuotas do
    pop(tonumber(ARGV[13 + 2 * i]) + 1, math.min(tonumber(ARGV[14 + 2 * i]), allowed - #ids))
  end
  for list = 1, 3 do pop(list, allowed - #ids) end
  if #ids > 0 then
    local blobs, attempts = call('HMGET', JOBS, unpack(ids)), call('HMGET', ATT, unpack(ids))
    first = call('HINCRBY', ST, 'f', #ids) - #ids + 1
    local owns, kept = {}, {}
    for i = 1, #ids do
      if blobs[i] then
        local before = '0|0'
        if attempts[i] then
          before = string.match(attempts[i], '^%d+|%d+')
          counts[#counts + 1] = #kept + 1
          counts[#counts + 1] = before
        end
        owns[#owns + 1] = ids[i]
        owns[#owns + 1] = string.format('%d|', first + #kept) .. worker .. '|' .. prios[i] .. '|' .. now .. '|' .. before
        kept[#kept + 1] = ids[i]
        out[#out + 1] = ids[i]
        out[#out + 1] = blobs[i]
      end
    end
    if #owns > 0 then call('HSET', OWN, unpack(owns)) end
    call('HSET', CFG, field, ARGV[3] .. '\n' .. table.concat(kept, '\n'))
    if rate then call('HSET', CFG, 't:' .. queue, tat + #ids * rate) end
    -- Whoever waits is woken in a chain, one by one, as long as there may be more.
    if #ids == want then call('ZADD', MK, 0, '0') end
  elseif ARGV[4] == '1' then
    call('HSET', CFG, field, ARGV[3] .. '\n')
  end
  if #ids < want then
    if more_due then
      next = 1
    else
      local head = call('ZRANGE', DLY, 0, 0, 'WITHSCORES')
      if head[2] then
        local wait = math.max(1, math.ceil(head[2] - now))
        if next < 0 or wait < next then next = wait end
      end
    end
  end
end
local lease = tonumber(ARGV[5])
if lease > 0 then call('ZADD', WL, now + lease, worker) end
return { now, lost, out, next, needs_all, first, counts }
