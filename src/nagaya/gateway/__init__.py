"""The one public door: routes HTTP/1.1 to the api or to a tenant and asks the keeper to wake sleeping tenants."""
