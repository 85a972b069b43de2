-- needs: dead
-- args: id of a dead letter
call('XDEL', DEAD, args[1])
return ok(pack(nil))
