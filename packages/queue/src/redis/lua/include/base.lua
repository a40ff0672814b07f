local call = redis.call

-- The keys of one queue, in one order for every script. Scripts that end or place tasks are given all of them.
local JOBS, RES, RX, ATT, ST, WL, CFG = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local W, DLY, OWN, MK, DEAD = { KEYS[8], KEYS[9], KEYS[10] }, KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local UQ, UN, GZ, GA, GT, GC, GM = KEYS[15], KEYS[16], KEYS[17], KEYS[18], KEYS[19], KEYS[20], KEYS[21]
local OB, NOTE, LOG, DEP, KIDS, KID = KEYS[22], KEYS[23], KEYS[24], KEYS[25], KEYS[26], KEYS[27]

local function clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
