-- needs: gateway, session
-- args: gateway, session
if call('SREM', K .. 'g:' .. args[2], args[1]) == 1 then
    call('SREM', K .. 'gw:' .. args[1] .. ':s', args[2])
    touch(args[2])
end
return ok(pack(nil))
