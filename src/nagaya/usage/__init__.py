"""What tenants use: counted resources, and the limits of organizations and tenants."""
