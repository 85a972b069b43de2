-- needs: session, dead
-- args: session, id of the last item that cannot be read. It goes, with all before it, as if it had expired: whoever
-- reads on from there is told that something is lost.
local s = session(args[1])
if not s then return refuse('session_not_found') end
local found = call('XRANGE', s.items, args[2], args[2])[1]
if found then
    local fields = {}
    for at = 1, #found[2], 2 do fields['item ' .. found[2][at]] = found[2][at + 1] end
    fields.session, fields.position = s.id, args[2]
    bury_letter('an item cannot be read', fields)
    local ms, seq = args[2]:match('^(%d+)-(%d+)$')
    call('XTRIM', s.items, 'MINID', ms .. '-' .. num(tonumber(seq) + 1))
end
return ok(pack(nil))
