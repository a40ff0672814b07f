-- The same as turn.lua, for tasks without groups, unique keys and parents: most turns, spared a dozen functions.
-- KEYS: the first 14 of base.lua
-- ARGV and returns: those of turn.lua
-- Safe to repeat: as turn.lua is.
-- @include base
local slot, enter, release
-- @include turn
