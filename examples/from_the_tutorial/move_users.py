"""Moves the users over: names, subjects, and the hashes as they are. Run it once."""

import asyncio
import sys

from after import auth
from people import fake_users_db

from watchword import Account
from watchword.seams import StoredUser


async def move() -> None:
    await auth.start()
    for name, found in fake_users_db.items():
        account = Account(
            sub=name,  # what the old tokens and your own tables know the user by
            username=name,
            name=found["full_name"],
            email=found["email"],
            disabled=found["disabled"],
        )
        moved = await auth.store.add_user(StoredUser(account, found["hashed_password"]))
        sys.stdout.write(f"{name} {'moved' if moved else 'was there already'}\n")
    auth.close()


asyncio.run(move())
