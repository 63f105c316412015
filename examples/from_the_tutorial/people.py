"""The users of the tutorial's app, as they lie in its database."""

fake_users_db = {
    "johndoe": {
        "username": "johndoe",
        "full_name": "John Doe",
        "email": "johndoe@example.com",
        "hashed_password": "$2b$12$b5P3oDT4SU2vgM2JVxDC7O3HzLH8GEzY8IZRiZ8gRf86mzefs/Py6",
        "disabled": False,
    },
    "alice": {
        "username": "alice",
        "full_name": "Alice Liddell",
        "email": "alice@example.com",
        "hashed_password": "$2b$12$cj3yaGXlW/WLitcmCM53FONuwSMfIHTSuUVkdrwAmggX2HWK88VZW",
        "disabled": True,
    },
}
